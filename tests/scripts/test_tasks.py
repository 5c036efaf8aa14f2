"""The runner of all tasks: its table, what it is given wrongly, and what it has no data for."""

import json
import shutil

import pytest

from bertjax.config import load_config
from bertjax.errors import UserError
from scripts.tasks import earlier_rows, main, with_fitting_length, write_tables, wrong_settings

MADE = {"started_from": "a run", "weights_digest": "ab", "settings": []}


def refused(monkeypatch, capsys, init, tasks, output):
    monkeypatch.setattr("sys.argv", ["tasks", "--init", init, "--data", tasks, "--output", output])
    assert main() == 2
    return capsys.readouterr().err


@pytest.fixture
def tasks(tmp_path):
    folder = tmp_path / "data" / "sst2"
    folder.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).write_text("sentence\tlabel\ngood\t1\nbad\t0\n")
    return str(folder.parent)


@pytest.fixture
def init(small_run):
    return str(small_run / "run")


def test_a_checkpoint_that_is_not_there_is_told_in_one_line(monkeypatch, capsys, tmp_path, tasks):
    message = refused(monkeypatch, capsys, "nowhere", tasks, str(tmp_path / "out"))
    assert message == "tasks: no checkpoint at nowhere: no such folder\n"


def test_a_folder_without_any_task_is_told_in_one_line(monkeypatch, capsys, tmp_path):
    message = refused(monkeypatch, capsys, "nowhere", str(tmp_path), str(tmp_path / "out"))
    assert message == f"tasks: --data {tmp_path}: no task has data there\n"


def test_rows_of_the_same_checkpoint_and_settings_stay_in_the_table(tmp_path):
    row = {"task": "sst2", "pretrained": {"metric": "accuracy", "seconds": 60.0}}
    row["pretrained"]["figures"] = {"accuracy": 0.875}
    write_tables(tmp_path, MADE, [row])
    assert earlier_rows(tmp_path, MADE) == {"sst2": row}


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"started_from": "another run"}, "another checkpoint"),
        ({"weights_digest": "cd"}, "another checkpoint"),
        ({"settings": ["--train.epochs=1"]}, "other settings"),
    ],
)
def test_a_table_of_another_checkpoint_or_other_settings_is_left_alone(tmp_path, other, name):
    write_tables(tmp_path, MADE, [])
    with pytest.raises(UserError, match=f"was made with {name}; give --output another"):
        earlier_rows(tmp_path, MADE | other)


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"tasks": [{}]}', '{"tasks": [1]}'])
def test_a_damaged_table_is_told_in_one_line(tmp_path, text):
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(UserError, match=r"table\.json: not a table that this script wrote; give"):
        earlier_rows(tmp_path, MADE)


def test_a_setting_that_some_tasks_have_is_refused_for_the_others():
    wrong = wrong_settings(["sst2", "stsb", "wnut17"], ["--task.class_weights=balanced"])
    assert set(wrong) == {"stsb", "wnut17"}
    assert "unknown option --task.class_weights" in wrong["stsb"]


@pytest.mark.slow
def test_a_setting_that_no_task_has_is_told_once(monkeypatch, capsys, tmp_path, tasks, init):
    command = ["tasks", "--init", init, "--data", tasks, "--output", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", [*command, "--train.epoch=1"])
    shutil.copytree(f"{tasks}/sst2", f"{tasks}/cola")
    assert main() == 2
    told = capsys.readouterr().err
    assert told == "sst2, cola: unknown option --train.epoch; did you mean --train.epochs?\n"


@pytest.mark.slow
def test_every_task_is_trained_from_the_checkpoint_and_from_scratch_and_seeds_are_added(
    monkeypatch, tmp_path, tasks, init
):
    output = tmp_path / "out"
    shutil.copytree(f"{tasks}/sst2", f"{tasks}/cola")
    command = ["tasks", "--init", init, "--data", tasks, "--output", str(output)]
    settings = ["--train.epochs=1", "--train.batch_size=8", "--data.length=32"]

    def table_of(*options):
        monkeypatch.setattr("sys.argv", [*command, *options, *settings])
        assert main() == 0
        rows = json.loads((output / "table.json").read_text())["tasks"]
        return {row["task"]: row for row in rows}

    first, then = table_of(), table_of("--task", "sst2", "--seeds", "2")
    assert list(first) == list(then) == ["sst2", "cola"]
    assert then["cola"] == first["cola"]
    without = table_of("--no-scratch")["sst2"]  # one seed and no baseline: both stay
    assert without["pretrained"]["seeds"] == then["sst2"]["pretrained"]["seeds"]
    assert without["scratch"] == then["sst2"]["scratch"]
    for start, source in (("pretrained", "run (bertjax"), ("scratch", "random weights")):
        row = first["sst2"][start]
        assert row["started_from"].startswith(source)
        assert (row["metric"], row["length"], "mean" in row) == ("accuracy", 32, False)
        seeds = then["sst2"][start]["seeds"]
        assert list(seeds) == ["0", "1"]
        assert seeds["0"] == row["figures"]
    assert "| sst2 | accuracy | " in (output / "table.md").read_text()
    assert " ± " in (output / "table.md").read_text()


@pytest.mark.slow
def test_a_run_of_somebody_else_is_left_alone(monkeypatch, capsys, tmp_path, tasks, init):
    other = tmp_path / "out" / "sst2-pretrained" / "config.json"
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    message = refused(monkeypatch, capsys, init, tasks, str(tmp_path / "out"))
    assert (
        message == f"sst2: {other.parent}: holds a run that is not of this script; move it away\n"
    )


@pytest.mark.parametrize(("positions", "length"), [(128, 128), (512, 384)])
def test_rows_are_no_longer_than_the_checkpoint_has_positions(positions, length):
    assert with_fitting_length(load_config("korquad"), positions).data.length == length


@pytest.mark.slow
def test_rows_that_others_wrote_in_the_meantime_stay(monkeypatch, tmp_path, tasks, init):
    output, row = tmp_path / "out", {"metric": "f1", "seconds": 60.0, "figures": {"f1": 0.5}}

    def train_beside_another(*_):
        made = json.loads((output / "made.json").read_text())
        write_tables(output, made, [{"task": "mrpc", "pretrained": row}])
        return row | {"metric": "accuracy", "figures": {"accuracy": 0.75}}

    def earlier(folder, made):
        (output / "made.json").write_text(json.dumps(made))
        return earlier_rows(folder, made)

    output.mkdir()
    monkeypatch.setattr("scripts.tasks.train", train_beside_another)
    monkeypatch.setattr("scripts.tasks.earlier_rows", earlier)
    arguments = ["--init", init, "--data", tasks, "--output", str(output), "--no-scratch"]
    monkeypatch.setattr("sys.argv", ["tasks", *arguments])
    assert main() == 0
    table = json.loads((output / "table.json").read_text())
    assert [own["task"] for own in table["tasks"]] == ["sst2", "mrpc"]
