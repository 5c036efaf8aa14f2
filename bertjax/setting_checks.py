"""Settings that cannot work are refused before anything is compiled."""

import math
from collections.abc import Iterator
from operator import attrgetter

from bertjax.errors import UserError
from bertjax.settings import LONGEST_FUSED, Config, ModelConfig, Phase, phases, total_steps

MOST_STEPS = 2**31 - 1  # are counted in int32


def validate(config: Config) -> None:
    """Refuses settings that cannot work, before anything is compiled; raises UserError."""
    data, optimizer = config.data, config.optimizer
    check_numbers(config)
    _check_shares(config)
    _check_attention(config)
    if data.pairs != "none" and config.model.num_segments < 2:
        raise UserError(
            f"model.num_segments={config.model.num_segments}: data.pairs={data.pairs} needs 2"
        )
    steps = config.train.profile_steps or (1, 1)
    if len(steps) != 2 or not 0 < steps[0] <= steps[1]:
        raise UserError(f"train.profile_steps={list(steps)}: write [FIRST,LAST], counted from 1")
    _check_length("data.length", data.length, config.model.max_length)
    if config.train.phases and optimizer.warmup_share is not None:
        raise UserError(
            "optimizer.warmup_share: every phase has its own warmup_steps; leave one of them out"
        )
    if not config.train.phases:
        (plain,) = phases(config)
        _check_batch("train.batch_size", plain.batch_size, config.train.accumulation)
    for number, phase in enumerate(config.train.phases):
        _check_phase(phase, f"train.phases[{number}]", config)
    if (total := total_steps(config)) > MOST_STEPS:
        raise UserError(f"train.steps={total}: a run has at most {MOST_STEPS:,} steps")


def _check_shares(config: Config) -> None:
    for name, value in _given(
        config,
        "model.dropout",
        "model.attention_dropout",
        "data.short_sequence_probability",
        "optimizer.weight_decay",
        "optimizer.beta1",
        "optimizer.beta2",
        "optimizer.warmup_share",
    ):
        if not 0 <= value < 1:
            raise UserError(f"{name}={value}: must be at least 0 and below 1")
    if not 0 < config.masking.rate < 1:
        raise UserError(f"masking.rate={config.masking.rate}: must lie between 0 and 1")
    for name, value in _given(config, "optimizer.decay_share", "optimizer.layer_decay"):
        if not 0 < value <= 1:
            raise UserError(f"{name}={value}: must lie in (0, 1]")


def check_heads(model: ModelConfig, tensor: int) -> None:
    """Refuses attention heads that `tensor` devices cannot share: UserError."""
    if model.num_heads % tensor:
        raise UserError(
            f"mesh.tensor={tensor}: model.num_heads={model.num_heads} cannot be shared out evenly"
        )
    head_dim = model.hidden_size // model.num_heads
    if model.attention == "fused" and (128 % head_dim or model.hidden_size % (128 * tensor)):
        raise UserError(
            f"model.attention=fused: heads of {head_dim} in model.hidden_size={model.hidden_size} "
            f"over mesh.tensor={tensor} do not fill groups of 128; leave it out"
        )


def _check_attention(config: Config) -> None:
    model = config.model
    if model.hidden_size % model.num_heads:
        raise UserError(
            f"model.hidden_size={model.hidden_size} is not divisible by "
            f"model.num_heads={model.num_heads}"
        )
    check_heads(model, max(config.mesh.tensor, 1))  # -1 is known where the devices are
    length = max([phase.length for phase in config.train.phases] or [config.data.length])
    dtype = config.train.compute_dtype
    if model.attention == "fused" and length > LONGEST_FUSED and dtype == "float32":
        raise UserError(
            f"model.attention=fused: in float32 for at most {LONGEST_FUSED} positions, and there "
            f"are {length}; leave it out"
        )


def check_numbers(config: Config) -> None:
    """Refuses what is not finite and greater than 0, or negative where 0 has a meaning."""
    for name, value in _given(
        config,
        "model.num_layers",
        "model.hidden_size",
        "model.num_heads",
        "model.intermediate_size",
        "model.vocab_size",
        "model.max_length",
        "model.num_segments",
        "model.layer_norm_epsilon",
        "model.initializer_range",
        "train.steps",
        "train.epochs",
        "train.patience",
        "train.batch_size",
        "train.accumulation",
        "train.log_every",
        "train.evaluate_every",
        "train.checkpoint_every",
        "train.keep_checkpoints",
        "optimizer.clip_norm",
        "optimizer.epsilon",
        "optimizer.learning_rate",
    ):
        _check_positive(name, value)
    for name, value in _given(config, "optimizer.warmup_steps", "optimizer.frozen_layers"):
        if value < 0:
            raise UserError(f"{name}={value}: must not be negative")
    model, optimizer = config.model, config.optimizer
    if optimizer.frozen_layers > model.num_layers:
        raise UserError(
            f"optimizer.frozen_layers={optimizer.frozen_layers}: there are only "
            f"model.num_layers={model.num_layers}"
        )


def _given(config: Config, *names: str) -> Iterator[tuple[str, float]]:
    """The settings of these names with their values; None is left out."""
    values = zip(names, attrgetter(*names)(config), strict=True)
    return ((name, value) for name, value in values if value is not None)


def _check_phase(phase: Phase, name: str, config: Config) -> None:
    _check_positive(f"{name}.steps", phase.steps)
    _check_positive(f"{name}.learning_rate", phase.learning_rate)
    _check_length(f"{name}.length", phase.length, config.model.max_length)
    _check_batch(f"{name}.batch_size", phase.batch_size, config.train.accumulation)
    if not 0 <= phase.warmup_steps <= phase.steps:
        raise UserError(
            f"{name}: a phase of {phase.steps} steps cannot warm up for {phase.warmup_steps}; "
            "change its warmup_steps"
        )


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise UserError(f"{name}={value}: must be greater than 0 and finite")


def _check_length(name: str, length: int, max_length: int) -> None:
    if length > max_length:
        raise UserError(
            f"{name}={length}: such sequences do not fit model.max_length={max_length} positions; "
            f"give {max_length} or fewer"
        )
    if length < 16:
        raise UserError(f"{name}={length}: must be at least 16")


def _check_batch(name: str, batch_size: int, accumulation: int) -> None:
    if batch_size < 1 or batch_size % accumulation:
        raise UserError(
            f"{name}={batch_size} is not divisible by train.accumulation={accumulation}"
        )
