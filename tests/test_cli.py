"""The command line: one clear line and status 2 for every mistake, figures as JSON on request."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bertjax import cli
from bertjax.cli import main
from bertjax.train import host_memory

COMMANDS = (
    *("prepare", "pretrain", "finetune", "predict", "evaluate"),
    *("fill-mask", "embed", "convert", "plan"),
)
FINETUNE = ("finetune", "sst2", "--init", "nowhere", "--run", "run")


def refused(capsys, *arguments):
    """What a command says on standard error when it exits with status 2: a single line."""
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("bertjax: ")
    assert message.count("\n") == 1
    return message


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_an_example(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"example:\n  bertjax {command}" in capsys.readouterr().out


@pytest.mark.parametrize(("config", "parameters"), [("base", 110_106_428), ("large", 336_226_108)])
def test_plan_tells_the_published_number_of_parameters(config, parameters, capsys):
    assert main(["plan", f"configs/{config}.py", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["parameters"] == parameters
    assert figures["model_flops"] > 0


@pytest.mark.slow
@pytest.mark.process
def test_plan_compiles_for_more_cpu_devices_than_jax_has_by_itself():
    flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ["XLA_FLAGS"])
    found = subprocess.run(
        [sys.executable, "-m", "bertjax", "plan", "tiny", "--topology", "cpu:2", "--json"],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(found.stdout)
    assert (figures["devices"], figures["mesh"]) == (2, {"data": 2, "fsdp": 1, "tensor": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["pretend"], "invalid choice: 'pretend'"),
        (["plan"], "required: CONFIG"),
        (["plan", "configs/lagre.py"], "did you mean large?"),
        (["plan", "base", "--model.num_layer=4"], "did you mean --model.num_layers?"),
        (["plan", "base", "--modle.num_layers=4"], "did you mean --model.num_layers?"),
        (["plan", "base", "--model.num_layers=four"], "expected int"),
        (["plan", "base", "--model.hidden_size=100"], "not divisible"),
        (["plan", "sst2"], "for fine-tuning: plan counts and compiles pretrain"),
        (["plan", "base", "--largest-batch"], "--largest-batch needs --topology"),
        (["plan", "base", "--train.phases=" + "[" * 200_000], "--train.phases: expected JSON"),
        (["plan", "base", "extra"], "unknown argument extra"),
        (["plan", "miniature:num_layers=3"], "no miniature with num_layers=3"),
        (["pretrain", "tiny", "--data", "nowhere", "--run", "run"], "nowhere"),
        (["pretrain", "tiny", "--run", "run"], "required: --data"),
        (["prepare", "--corpus", "nowhere.txt", "--output", "data"], "nowhere.txt"),
        (["prepare", "--corpus", "a.txt", "b.txt", "--output", "data"], "unknown argument b.txt"),
        (["prepare", "--corpus", "a", "--output", "b", "--", "--region=r"], "need --runner beam"),
        (["evaluate", "nowhere", "--data", "nowhere"], "no checkpoint at nowhere"),
        (["evaluate", "nowhere"], "one of the arguments --data --corpus is required"),
        (["embed", "nowhere", "--input", "a.txt"], "required: --output"),
        (["embed", "nowhere", "--input", "a.txt", "--output", "a.npy"], "a.txt: cannot be read"),
        (["embed", "r", "--input", "a", "--output", "b", "--pooling", "sum"], "invalid choice"),
        (["fill-mask", "nowhere", "a [MASK]"], "no checkpoint at nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "copy"),
    [
        (["pretrain", "tiny", "--run", "run", "--data"], "cp -r gs://bucket/data/en .)"),
        (["evaluate", "nowhere", "--data"], "cp -r gs://bucket/data/en .)"),
        (["evaluate", "nowhere", "--corpus"], "cp -r gs://bucket/data/en .)"),
        (["embed", "nowhere", "--output", "a.npy", "--input"], "cp -r gs://bucket/data/en .)"),
        (["embed", "nowhere", "--input", "a.txt", "--output"], "cp FILE gs://bucket/data/en)"),
        (["prepare", "--output", "data", "--corpus"], "cp -r gs://bucket/data/en .)"),
        ([*FINETUNE, "--train", "a.tsv", "--dev"], "cp -r gs://bucket/data/en .)"),
        ([*FINETUNE, "--dev", "a.tsv", "--train"], "cp -r gs://bucket/data/en .)"),
        (["prepare", "--corpus", "nowhere", "--output"], "cp -r FOLDER gs://bucket/data/en)"),
    ],
    ids=lambda value: " ".join(value[:: len(value) - 1]) if isinstance(value, list) else "",
)
def test_a_bucket_is_refused_with_the_commands_that_bring_it_here(arguments, copy, capsys):
    message = refused(capsys, *arguments, "gs://bucket/data/en")
    assert f"{arguments[-1]} gs://bucket/data/en: must be local or mounted" in message
    assert "(gcsfuse --implicit-dirs --rename-dir-limit=100000 bucket FOLDER) and give" in message
    assert f"(gcloud storage {copy}" in message


@pytest.mark.parametrize(
    "arguments",
    [
        ["fill-mask", "gs://bucket/model", "a [MASK]"],
        ["convert", "gs://bucket/model", "here", "--to", "bertjax"],
        ["convert", "nowhere", "gs://bucket/model", "--to", "bertjax"],
        ["pretrain", "tiny", "--data", "data", "--run", "gs://bucket/run"],
    ],
    ids=" ".join,
)
def test_a_bucket_without_its_package_is_told(arguments, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)  # importing it fails
    assert "pip install -e '.[gcs]'" in refused(capsys, *arguments)


def test_options_say_which_process_this_is(capsys, monkeypatch):
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.setenv(name, "another")
    hosts = ("--coordinator-address=node1:9", "--num-processes=2", "--process-id=2")
    command = ("pretrain", "tiny", "--data", "data", "--run", "run")
    assert "give all of --coordinator-address, --num-pro" in refused(capsys, *command, *hosts[1:])
    message = refused(capsys, *command, *hosts)
    assert "JAX_PROCESS_ID=2: JAX_NUM_PROCESSES=2 processes are numbered from 0" in message


@pytest.mark.parametrize(
    "arguments",
    [
        ["fill-mask", "", "a [MASK]"],
        ["convert", "nowhere", "", "--to", "bertjax"],
        ["pretrain", "tiny", "--data", "data", "--run", ""],
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_empty_path_is_told(arguments, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "is empty" in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_text_that_is_none_is_told_in_one_line(capsys, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"bad \xff\n")
    corpus, output = str(tmp_path / "a.txt"), str(tmp_path / "data")
    message = refused(capsys, "prepare", "--corpus", corpus, "--output", output)
    assert "not UTF-8" in message


def test_a_file_whose_name_no_report_can_quote_is_refused(capsys):
    message = refused(capsys, *FINETUNE, "--train", os.fsdecode(b"\xb0.tsv"), "--dev", "a.tsv")
    assert "a name that is not UTF-8" in message


@pytest.mark.process
def test_output_that_nobody_reads_is_a_status_and_no_traceback():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "bertjax", "plan", "tiny", "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    found = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, env=environment, check=False
    )
    os.close(write)
    assert (found.returncode, found.stderr) == (1, b"")


def test_an_accelerator_that_does_not_start_is_told_in_one_line(monkeypatch, capsys):
    def use_it(*_):
        raise RuntimeError("Unable to initialize backend 'cuda': the driver is too old\n(advice)")

    monkeypatch.setattr("bertjax.options.run_plan", use_it)
    assert main(["plan", "tiny"]) == 1  # it may be free the next time
    told = capsys.readouterr().err
    assert told == "bertjax: Unable to initialize backend 'cuda': the driver is too old (advice)\n"


@pytest.mark.parametrize(
    ("devices", "installed", "platform", "kept"),
    [
        ((), (), "cpu", True),
        (("dev/nvidia0",), (), None, True),
        (("dev/nvidia0",), ("jax_plugins",), None, False),
        (("dev/dxg",), ("jax_plugins",), None, False),
        (("dev/accel/accel0",), ("libtpu",), "cpu", True),
        (("dev/accel0",), ("libtpu",), None, False),
        (("dev/accel0",), ("TPU_LIBRARY_PATH",), None, False),
        (("dev/nvidia0",), ("JAX_PLATFORMS",), "cuda", False),
    ],
)
def test_the_cpu_is_chosen_where_jax_can_use_nothing_else(
    monkeypatch, tmp_path, devices, installed, platform, kept
):
    for device in devices:
        file = tmp_path / device
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    calls = []
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    if "TPU_LIBRARY_PATH" in installed:
        monkeypatch.setenv("TPU_LIBRARY_PATH", "libtpu.so")
    if platform == "cuda":
        monkeypatch.setenv("JAX_PLATFORMS", platform)  # the user's
    monkeypatch.setattr(cli, "Path", lambda _: tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name in installed or None)
    monkeypatch.setattr(host_memory, "keep_freed_memory", lambda: calls.append(1))
    cli.choose_platform()
    assert os.environ.get("JAX_PLATFORMS") == platform
    assert bool(calls) is kept


@pytest.mark.process
def test_the_installed_command_and_the_module_are_the_same():
    installed = str(Path(sys.executable).with_name("bertjax"))
    module, command = (
        subprocess.run([*start, "--help"], capture_output=True, text=True, check=True).stdout
        for start in ([sys.executable, "-m", "bertjax"], [installed])
    )
    assert module == command
    assert all(name in module for name in COMMANDS)


def test_a_terminal_that_lacks_a_character_is_shown_its_code():
    code = "import sys\nfrom bertjax.cli import main\nsys.argv[1:] = ['--help']\n"
    code += "try:\n    main()\nexcept SystemExit:\n    print('한')\n"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.stdout.endswith(rb"\ud55c" + b"\n")
