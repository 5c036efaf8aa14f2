"""Reading an experiment's settings: from a Python file, the command line, and JSON both ways.

A config file is Python that defines `get_config() -> Config`; its docstring tells the command, the
hardware, the expected time and result. `--section.field=value` changes one field; a mistyped name
or value is refused with a suggestion before anything is compiled.
"""

import contextlib
import dataclasses
import difflib
import importlib.util
import inspect
import json
import sysconfig
import traceback
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bertjax.errors import UserError
from bertjax.json_text import parse_json
from bertjax.setting_checks import validate
from bertjax.settings import (
    Config,
    DataConfig,
    MaskingConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    Phase,
    TrainConfig,
    largest_phase,
    phases,
    total_steps,
    with_steps,
)
from bertjax.task_settings import (
    Classification,
    QuestionAnswering,
    Regression,
    Tagging,
    TaskConfig,
)
from bertjax.typed_values import build, convert

FORMAT_VERSION = 1
# What every phase says for itself: given on the command line, these describe a run without phases.
_PLAIN = {
    "data.length",
    "train.batch_size",
    "optimizer.learning_rate",
    "optimizer.warmup_steps",
    "optimizer.warmup_share",
}


def load_config(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Reads `get_config()` of a Python file (or a run's `config.json`) and applies overrides.

    Where the config has phases, overriding a field that they hold too (`data.length`,
    `train.batch_size`, `optimizer.learning_rate`, `optimizer.warmup_steps` or its share) drops
    them: the run then has the one phase that these fields describe, of as many steps. An override
    of `train.phases` replaces them, and with them the steps and the share of warmup. One of
    `train.steps` and `train.epochs` replaces the other.

    Args:
        path: the file; `tiny` and `configs/tiny.py` are found from any folder. Arguments of
            `get_config` follow a colon: `configs/miniature.py:num_layers=4,hidden_size=256`.
        overrides: strings of the form `--section.field=value`.

    Raises:
        UserError: no such file, one that is no config, or a bad override.
    """
    name, _, arguments = str(path).partition(":")
    file = _find_config(Path(name))
    if file.suffix == ".json":
        config = _without_findings(from_json(file.read_bytes(), str(file)))
    else:
        config = _call_get_config(file, arguments)
    for text in overrides:
        config = apply_override(config, text)
    return _settle_steps(config, {_override_name(text) for text in overrides})


def _without_findings(config: Config) -> Config:
    """A run's config without the weights and the threshold that it found in its own files.

    Its labels stay: they say what the outputs stand for.
    """
    task = config.task
    if isinstance(task, Classification) and task.class_weights == "balanced":
        task = dataclasses.replace(task, label_weights=())
    elif isinstance(task, QuestionAnswering):
        task = dataclasses.replace(task, null_threshold=QuestionAnswering.null_threshold)
    return dataclasses.replace(config, task=task)


def apply_override(config: Config, text: str) -> Config:
    """Applies one `--section.field=value`; raises UserError with a suggestion if it is no field."""
    name, equals, value = text.removeprefix("--").partition("=")
    if not text.startswith("--") or not equals:
        raise UserError(f"cannot read the option {text!r}: write --section.field=value")
    return _replace(config, _override_name(text), value, name)


def _override_name(text: str) -> str:
    return text.removeprefix("--").partition("=")[0].replace("-", "_")


def _settle_steps(config: Config, overridden: set[str]) -> Config:
    """What overrides of single fields mean for phases, steps and epochs; see `load_config`."""
    train = config.train
    phased = "train.phases" in overridden and train.phases
    warmup_told = phased or "optimizer.warmup_steps" in overridden
    if warmup_told and "optimizer.warmup_share" not in overridden:
        optimizer = dataclasses.replace(config.optimizer, warmup_share=None)
        config = dataclasses.replace(config, optimizer=optimizer)
    for given, other in (("steps", "epochs"), ("epochs", "steps")):
        wanted = f"train.{given}" in overridden and getattr(train, given) is not None
        if wanted and f"train.{other}" not in overridden:
            train = dataclasses.replace(train, **{other: None})
    if "train.phases" in overridden:
        if "train.steps" not in overridden and train.phases:
            train = dataclasses.replace(train, steps=None)
    elif overridden & _PLAIN and train.phases:
        steps = sum(phase.steps for phase in train.phases) if train.steps is None else train.steps
        train = dataclasses.replace(train, steps=steps, phases=())
    return dataclasses.replace(config, train=train)


def to_json(config: Config) -> str:
    """The config as indented JSON, with the format version and what kind of model it describes."""
    return json.dumps(_head(config) | dataclasses.asdict(config), indent=2) + "\n"


def _head(config: Config) -> dict[str, Any]:
    objective = "mlm_nsp" if config.task is None else config.task.kind
    return {"format_version": FORMAT_VERSION, "architecture": "bert", "objective": objective}


def from_json(text: str | bytes, origin: str) -> Config:
    """Reads what `to_json` wrote; `origin` names the file in error messages."""
    try:
        values = parse_json(text)
    except ValueError as error:  # not JSON, or not UTF-8
        raise UserError(f"{origin}: not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise UserError(f"{origin}: not a config (expected a JSON object)")
    head = {name: values.pop(name, None) for name in _head(Config())}
    task = values.get("task")
    objective = "mlm_nsp" if task is None else task.get("kind") if isinstance(task, dict) else task
    for name, known in (_head(Config()) | {"objective": objective}).items():
        if head[name] != known:
            raise UserError(
                f"{origin}: unknown {name} {head[name]!r}; this version reads {known!r}"
            )
    return build(Config, values, origin)


def _call_get_config(file: Path, arguments: str) -> Config:
    spec = importlib.util.spec_from_file_location(f"bertjax_config_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file}: not a config; expected a Python file or a run's config.json")
    module = importlib.util.module_from_spec(spec)
    with _users_code(file, spec.origin):
        spec.loader.exec_module(module)
    if not callable(get_config := getattr(module, "get_config", None)):
        raise UserError(f"{file}: no get_config() in it; a config file defines one")
    with _users_code(file, spec.origin):
        config = get_config(**_arguments(file, get_config, arguments))
    if not isinstance(config, Config):
        raise UserError(f"{file}: get_config() returned {config!r}, not a bertjax.config.Config")
    return build(Config, dataclasses.asdict(config), str(file))


def _arguments(file: Path, get_config: Callable[..., Any], text: str) -> dict[str, Any]:
    """The arguments that follow the file's name, as `get_config` declares them."""
    signature, hints = inspect.signature(get_config), typing.get_type_hints(get_config)
    values = {}
    for argument in filter(None, text.split(",")):
        name, _, value = argument.partition("=")
        if name not in signature.parameters or not value:
            raise UserError(
                f"{file}: cannot read {argument!r}; it takes "
                + (", ".join(f"{known}=..." for known in signature.parameters) or "no arguments")
            )
        values[name] = convert(hints.get(name, str), value, name)
    try:
        signature.bind(**values)
    except TypeError as error:
        raise UserError(f"{file}: {error}; give it as in {file.name}:name=value") from error
    return values


@contextlib.contextmanager
def _users_code(file: Path, origin: str | None) -> Iterator[None]:
    """Tells what goes wrong in a config file in one line; a bug of this package stays one."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        if Path(frames[-1].filename).is_relative_to(Path(__file__).parent):
            raise
        lines = [frame.lineno for frame in frames if frame.filename == origin]
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if isinstance(error, SyntaxError) and error.filename == origin:
            lines, text = [error.lineno], error.msg
        raise UserError(": ".join([str(file), *(f"line {n}" for n in lines[-1:]), text])) from error


def _configs() -> Path:
    """The folder of configs: a checkout's, or what a wheel brought (setup.cfg, data_files)."""
    checkout = Path(__file__).resolve().parent.parent / "configs"
    installed = Path(sysconfig.get_path("data")) / "share" / "bertjax" / "configs"
    return checkout if (checkout / "miniature.py").is_file() else installed


def _find_config(path: Path) -> Path:
    configs = _configs()
    tasks = configs / "finetune"
    ours = [configs / path, configs / f"{path}.py", tasks / f"{path}.py"]
    if path.parts[:1] == (configs.name,):
        ours.append(configs.parent / path)
    for candidate in (path, *ours):
        if candidate.is_file():
            return candidate
    names = [file.stem for folder in (tasks, configs) for file in folder.glob("*.py")]
    near = difflib.get_close_matches(path.stem, names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(f"no config file {path}{hint}")


def _replace(section: Any, path: str, text: str, full: str) -> Any:
    head, _, rest = path.partition(".")
    hints = typing.get_type_hints(type(section))
    prefix = full[: len(full) - len(path)]
    if head not in hints:
        near = difflib.get_close_matches(head, hints, 1)
        hint = f"did you mean --{prefix}{near[0]}{'.' + rest if rest else ''}?" if near else ""
        raise UserError(f"unknown option --{full}; {hint or f'fields are {sorted(hints)}'}")
    current = getattr(section, head)
    if rest:
        if not dataclasses.is_dataclass(current):
            raise UserError(f"--{full}: {prefix}{head} is not a section")
        value = _replace(current, rest, text, full)
    elif dataclasses.is_dataclass(current):
        fields = sorted(typing.get_type_hints(type(current)))
        raise UserError(f"--{full} is a section; set one of {fields}")
    else:
        value = convert(hints[head], text, full)
    return dataclasses.replace(section, **{head: value})
