"""Reading an experiment's settings: from a Python file, the command line, and JSON both ways.

A config file is Python that defines `get_config() -> Config`; its docstring tells the command, the
hardware, the expected time and result. `--section.field=value` changes one field; a mistyped name
or value is refused with a suggestion before anything is compiled.
"""

import dataclasses
import difflib
import importlib.util
import inspect
import json
import types
import typing
from pathlib import Path
from typing import Any, Literal

from bertjax.errors import UserError
from bertjax.settings import (
    Config,
    DataConfig,
    MaskingConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    Phase,
    TrainConfig,
    phases,
    total_steps,
    validate,
    with_steps,
)

__all__ = [
    "Config",
    "DataConfig",
    "MaskingConfig",
    "MeshConfig",
    "ModelConfig",
    "OptimizerConfig",
    "Phase",
    "TrainConfig",
    "apply_override",
    "from_json",
    "load_config",
    "phases",
    "to_json",
    "total_steps",
    "validate",
    "with_steps",
]

FORMAT_VERSION = 1
_UNIONS = (types.UnionType, typing.Union)
# What every phase says for itself: given on the command line, these describe a run without phases.
_PLAIN = {
    "data.length",
    "train.batch_size",
    "optimizer.learning_rate",
    "optimizer.warmup_steps",
}


def load_config(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Reads `get_config()` of a Python file (or a run's `config.json`) and applies overrides.

    Where the config has phases, overriding a field that they hold too (`data.length`,
    `train.batch_size`, `optimizer.learning_rate`, `optimizer.warmup_steps`) drops them: the run
    then has the one phase that these fields describe, of as many steps. An override of
    `train.phases` replaces them, and the steps with them.

    Args:
        path: the file; a bare name such as `tiny` is looked up in `configs/` too. Arguments of
            `get_config` follow a colon: `configs/miniature.py:num_layers=4,hidden_size=256`.
        overrides: strings of the form `--section.field=value`.

    Raises:
        UserError: no such file, one that is no config, or a bad override.
    """
    name, _, arguments = str(path).partition(":")
    file = _find_config(Path(name))
    if file.suffix == ".json":
        config = from_json(file.read_bytes(), str(file))
    else:
        config = _call_get_config(file, arguments)
    for text in overrides:
        config = apply_override(config, text)
    return _settle_phases(config, {_override_name(text) for text in overrides})


def apply_override(config: Config, text: str) -> Config:
    """Applies one `--section.field=value`; raises UserError with a suggestion if it is no field."""
    name, equals, value = text.removeprefix("--").partition("=")
    if not text.startswith("--") or not equals:
        raise UserError(f"cannot read the option {text!r}: write --section.field=value")
    return _replace(config, _override_name(text), value, name)


def _override_name(text: str) -> str:
    return text.removeprefix("--").partition("=")[0].replace("-", "_")


def _settle_phases(config: Config, overridden: set[str]) -> Config:
    """What overrides of single fields mean for the phases; see `load_config`."""
    train = config.train
    if "train.phases" in overridden:
        if "train.steps" not in overridden and train.phases:
            train = dataclasses.replace(train, steps=None)
    elif overridden & _PLAIN and train.phases:
        steps = sum(phase.steps for phase in train.phases) if train.steps is None else train.steps
        train = dataclasses.replace(train, steps=steps, phases=())
    return dataclasses.replace(config, train=train)


def to_json(config: Config) -> str:
    """The config as indented JSON, with the format version and what kind of model it describes."""
    head = {"format_version": FORMAT_VERSION, "architecture": "bert", "objective": "mlm_nsp"}
    return json.dumps(head | dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str | bytes, origin: str) -> Config:
    """Reads what `to_json` wrote; `origin` names the file in error messages."""
    try:
        values = json.loads(text)
    except ValueError as error:  # not JSON, or not UTF-8
        raise UserError(f"{origin}: not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise UserError(f"{origin}: not a config (expected a JSON object)")
    expected = {"format_version": FORMAT_VERSION, "architecture": "bert", "objective": "mlm_nsp"}
    for key, known in expected.items():
        if (found := values.pop(key, None)) != known:
            raise UserError(f"{origin}: unknown {key} {found!r}; this version reads {known!r}")
    return _build(Config, values, origin)


def _call_get_config(file: Path, arguments: str) -> Config:
    spec = importlib.util.spec_from_file_location(f"bertjax_config_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file}: not a config; expected a Python file or a run's config.json")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserError(f"{file}: line {error.lineno}: {error.msg}") from error
    if not hasattr(module, "get_config"):
        raise UserError(f"{file}: no get_config() in it; a config file defines one")
    parameters = inspect.signature(module.get_config).parameters
    values = {}
    for argument in filter(None, arguments.split(",")):
        name, _, text = argument.partition("=")
        if name not in parameters or not text:
            raise UserError(
                f"{file}: cannot read {argument!r}; it takes "
                + (", ".join(f"{known}=..." for known in parameters) or "no arguments")
            )
        values[name] = _convert(typing.get_type_hints(module.get_config)[name], text, name)
    config = module.get_config(**values)
    if not isinstance(config, Config):
        raise UserError(f"{file}: get_config() returned {config!r}, not a bertjax.config.Config")
    return config


def _find_config(path: Path) -> Path:
    configs = Path(__file__).resolve().parent.parent / "configs"
    candidates = [path, configs / path, configs / f"{path}.py"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    names = sorted(file.stem for file in configs.glob("*.py"))
    near = difflib.get_close_matches(path.stem, names, 1)
    hint = f"; did you mean {configs.name}/{near[0]}.py?" if near else ""
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
        value = _convert(hints[head], text, full)
    return dataclasses.replace(section, **{head: value})


def _convert(hint: Any, text: str, name: str) -> Any:
    """The value that `text` means for a field of type `hint`."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) in _UNIONS:
        if text.lower() == "none":
            return None
        return _convert(next(option for option in options if option is not type(None)), text, name)
    if typing.get_origin(hint) is Literal:
        if text not in options:
            near = difflib.get_close_matches(text, options, 1)
            raise UserError(
                f"--{name}={text}: choose one of {', '.join(options)}"
                + (f" (did you mean {near[0]}?)" if near else "")
            )
        return text
    if typing.get_origin(hint) is tuple:
        return _build_value(hint, _parse_json(text, name), f"--{name}")
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise UserError(f"--{name}={text}: expected true or false")
        return text.lower() == "true"
    try:
        return hint(text.replace("_", "") if hint is int else text)
    except ValueError as error:
        raise UserError(f"--{name}={text}: expected {hint.__name__}") from error


def _parse_json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"--{name}: expected JSON ({error})") from error


def _build(kind: Any, values: dict[str, Any], origin: str) -> Any:
    """A dataclass from JSON values, every name and type checked."""
    hints = typing.get_type_hints(kind)
    if unknown := sorted(set(values) - set(hints)):
        raise UserError(f"{origin}: unknown setting {unknown[0]!r} in {kind.__name__}")
    missing = [
        item.name
        for item in dataclasses.fields(kind)
        if item.name not in values
        and item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{origin}: {kind.__name__} lacks {', '.join(missing)}")
    return kind(**{key: _build_value(hints[key], value, origin) for key, value in values.items()})


def _build_value(hint: Any, value: Any, origin: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise UserError(f"{origin}: expected an object for {getattr(hint, '__name__', hint)}")
        return _build(hint, value, origin)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise UserError(f"{origin}: expected a list, found {value!r}")
        return tuple(_build_value(typing.get_args(hint)[0], item, origin) for item in value)
    if typing.get_origin(hint) in _UNIONS:
        return None if value is None else _build_value(typing.get_args(hint)[0], value, origin)
    if typing.get_origin(hint) is Literal:
        allowed = typing.get_args(hint)
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
        return value
    else:
        raise UserError(f"{origin}: expected {hint.__name__}, found {value!r}")
    if value not in allowed:
        raise UserError(f"{origin}: expected one of {', '.join(allowed)}, found {value!r}")
    return value
