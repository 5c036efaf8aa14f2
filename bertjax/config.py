"""Every setting of an experiment: typed, frozen, overridable from the command line, JSON both ways.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bertjax.errors import UserError

FORMAT_VERSION = 1
_UNIONS = (types.UnionType, typing.Union)


@dataclass(frozen=True)
class ModelConfig:
    """The encoder. Defaults are BERT-base (Devlin et al. 2018, section 3)."""

    num_layers: int = 12
    hidden_size: int = 768
    num_heads: int = 12
    intermediate_size: int = 3072
    vocab_size: int | None = None  # None: the size of the data's tokenizer
    max_length: int = 512
    num_segments: int = 2
    dropout: float = 0.1
    layer_norm_epsilon: float = 1e-12
    initializer_range: float = 0.02
    remat: bool = False  # recompute each layer in the backward pass: less memory, a quarter slower


@dataclass(frozen=True)
class DataConfig:
    """How token shards become batches."""

    length: int = 128
    pairs: Literal["nsp", "sop", "none"] = "nsp"
    packing: bool = True
    short_sequence_probability: float = 0.1  # create_pretraining_data.py, short_seq_prob


@dataclass(frozen=True)
class MaskingConfig:
    """Which tokens are predicted. Evaluation always masks 15% single tokens with a fixed key."""

    rate: float = 0.15
    unit: Literal["token", "whole_word", "span"] = "token"


@dataclass(frozen=True)
class OptimizerConfig:
    """Defaults are BERT's (Devlin et al. 2018, appendix A.2)."""

    name: Literal["adamw", "lamb"] = "adamw"
    learning_rate: float = 1e-4
    warmup_steps: int = 10_000
    schedule: Literal["linear", "cosine", "wsd", "constant"] = "linear"  # once over all phases
    decay_share: float = 0.1  # wsd only: the share of the steps spent decaying to 0
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-6


@dataclass(frozen=True)
class MeshConfig:
    """Devices as a grid; -1 takes all that are left."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1


@dataclass(frozen=True)
class Phase:
    """A stretch of training with its own sequence length, batch size and learning rate."""

    steps: int
    length: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    reset_optimizer: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """How long, how large, and how often to look."""

    steps: int | None = None  # None: the sum of the phases; a number scales phases in proportion
    batch_size: int = 256  # rows over all devices, whatever the accumulation
    seed: int = 0
    compute_dtype: Literal["float32", "bfloat16"] | None = None  # None: float32 on CPU only
    accumulation: int = 1
    log_every: int = 100
    evaluate_every: int = 10_000
    checkpoint_every: int = 10_000
    keep_checkpoints: int = 3
    deterministic: bool = False  # bit-identical on GPU too, at a cost
    phases: tuple[Phase, ...] = ()


@dataclass(frozen=True)
class Config:
    """One experiment."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def phases(config: Config) -> tuple[Phase, ...]:
    """The phases of a run in order: the config's own, or the single one its fields describe.

    With both `train.steps` and `train.phases`, every phase keeps its share of the steps.
    """
    train = config.train
    if not train.phases:
        if train.steps is None:
            raise UserError("train.steps is not set: give the number of steps, or train.phases")
        rate, warmup = config.optimizer.learning_rate, config.optimizer.warmup_steps
        return (Phase(train.steps, config.data.length, train.batch_size, rate, warmup),)
    total = sum(phase.steps for phase in train.phases)
    if train.steps is None or train.steps == total:
        return train.phases
    ends, done = [], 0
    for phase in train.phases:
        done += phase.steps
        ends.append(round(done * train.steps / total))
    return tuple(
        dataclasses.replace(
            phase,
            steps=end - start,
            warmup_steps=round(phase.warmup_steps * train.steps / total),
        )
        for phase, start, end in zip(train.phases, [0, *ends], ends, strict=False)
        if end > start
    )


def total_steps(config: Config) -> int:
    """Steps of the whole run, over all phases."""
    return sum(phase.steps for phase in phases(config))


def load_config(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Reads `get_config()` of a Python file (or a run's `config.json`) and applies overrides.

    Args:
        path: the file; a bare name such as `tiny` is looked up in `configs/` too. Arguments of
            `get_config` follow a colon: `configs/miniature.py:num_layers=4,hidden_size=256`.
        overrides: strings of the form `--section.field=value`.

    Raises:
        UserError: no such file, no `get_config`, or a bad override.
    """
    name, _, arguments = str(path).partition(":")
    file = _find_config(Path(name))
    if file.suffix == ".json":
        config = from_json(file.read_text(), str(file))
    else:
        config = _call_get_config(file, arguments)
    for text in overrides:
        config = apply_override(config, text)
    return config


def apply_override(config: Config, text: str) -> Config:
    """Applies one `--section.field=value`; raises UserError with a suggestion if it is no field."""
    name, equals, value = text.removeprefix("--").partition("=")
    if not text.startswith("--") or not equals:
        raise UserError(f"cannot read the option {text!r}: write --section.field=value")
    return _replace(config, name.replace("-", "_"), value, name)


def to_json(config: Config) -> str:
    """The config as indented JSON, with the format version and what kind of model it describes."""
    head = {"format_version": FORMAT_VERSION, "architecture": "bert", "objective": "mlm_nsp"}
    return json.dumps(head | dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str, origin: str) -> Config:
    """Reads what `to_json` wrote; `origin` names the file in error messages."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{origin}: not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise UserError(f"{origin}: not a config (expected a JSON object)")
    expected = {"format_version": FORMAT_VERSION, "architecture": "bert", "objective": "mlm_nsp"}
    for key, known in expected.items():
        if (found := values.pop(key, None)) != known:
            raise UserError(f"{origin}: unknown {key} {found!r}; this version reads {known!r}")
    return _build(Config, values, origin)


def validate(config: Config) -> None:
    """Refuses settings that cannot work, before anything is compiled; raises UserError."""
    model, train, optimizer = config.model, config.train, config.optimizer
    positive = {
        "model.num_layers": model.num_layers,
        "model.hidden_size": model.hidden_size,
        "model.num_heads": model.num_heads,
        "model.intermediate_size": model.intermediate_size,
        "model.max_length": model.max_length,
        "train.accumulation": train.accumulation,
        "train.log_every": train.log_every,
        "train.evaluate_every": train.evaluate_every,
        "train.checkpoint_every": train.checkpoint_every,
        "train.keep_checkpoints": train.keep_checkpoints,
        "optimizer.clip_norm": optimizer.clip_norm,
        "optimizer.learning_rate": optimizer.learning_rate,
    }
    for name, value in positive.items():
        if not value > 0:
            raise UserError(f"{name}={value}: must be greater than 0")
    if train.steps is not None and train.steps < 0:
        raise UserError(f"train.steps={train.steps}: must not be negative")
    if model.hidden_size % model.num_heads:
        raise UserError(
            f"model.hidden_size={model.hidden_size} is not divisible by "
            f"model.num_heads={model.num_heads}"
        )
    for name, value in {
        "model.dropout": model.dropout,
        "data.short_sequence_probability": config.data.short_sequence_probability,
        "optimizer.weight_decay": optimizer.weight_decay,
    }.items():
        if not 0 <= value < 1:
            raise UserError(f"{name}={value}: must be at least 0 and below 1")
    if not 0 < config.masking.rate < 1:
        raise UserError(f"masking.rate={config.masking.rate}: must lie between 0 and 1")
    if not 0 < optimizer.decay_share <= 1:
        raise UserError(f"optimizer.decay_share={optimizer.decay_share}: must lie in (0, 1]")
    for phase in phases(config):
        _validate_phase(phase, config)


def _validate_phase(phase: Phase, config: Config) -> None:
    if phase.length > config.model.max_length:
        raise UserError(
            f"sequences of length {phase.length} (data.length) do not fit "
            f"model.max_length={config.model.max_length} positions"
        )
    if phase.length < 16:
        raise UserError(f"data.length={phase.length}: must be at least 16")
    if phase.batch_size < 1 or phase.batch_size % config.train.accumulation:
        raise UserError(
            f"train.batch_size={phase.batch_size} is not divisible by "
            f"train.accumulation={config.train.accumulation}"
        )
    if not 0 <= phase.warmup_steps <= max(phase.steps, 0) and config.train.phases:
        raise UserError(
            f"a phase of {phase.steps} steps cannot warm up for {phase.warmup_steps}; "
            "lower its warmup_steps"
        )


def _call_get_config(file: Path, arguments: str) -> Config:
    spec = importlib.util.spec_from_file_location(f"bertjax_config_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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
    return module.get_config(**values)


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
