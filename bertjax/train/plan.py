"""What a configuration amounts to, without data and without training."""

import bisect
import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

from bertjax.config import Config, largest_phase, phases, validate
from bertjax.data.packing import max_pairs
from bertjax.errors import UserError
from bertjax.model.bert import count_parameters, model_flops
from bertjax.train.masking import prediction_count
from bertjax.train.objective import pretraining_heads

PUBLISHED_VOCABULARY = 30_522  # google-research/bert, uncased: what a config without data gets


def plan(config: Config) -> dict[str, Any]:
    """Parameters, arithmetic and tokens of a run; compiles nothing.

    Returns:
        `parameters` (with the heads that are trained, the tied decoder once, without vocabulary
        padding), `model_flops` of one step of the largest phase, `steps`, `positions` (rows times
        length over all steps) and `total_model_flops`.

    Raises:
        UserError: settings that cannot work, or those of a labelled task.
    """
    if config.task is not None:
        raise UserError("a config for fine-tuning: plan counts and compiles pretraining")
    validate(config)
    config = with_vocabulary(config)
    stretches, flops = phases(config), _phase_flops(config)
    return {
        "parameters": count_parameters(config.model, pretraining_heads(config)),
        "model_flops": flops[stretches.index(largest_phase(config))],
        "steps": sum(phase.steps for phase in stretches),
        "positions": sum(phase.steps * phase.batch_size * phase.length for phase in stretches),
        "total_model_flops": sum(
            phase.steps * value for phase, value in zip(stretches, flops, strict=True)
        ),
    }


def with_vocabulary(config: Config) -> Config:
    """The config, with the published vocabulary's size where it says none."""
    if config.model.vocab_size is not None:
        return config
    model = dataclasses.replace(config.model, vocab_size=PUBLISHED_VOCABULARY)
    return dataclasses.replace(config, model=model)


def step_flops(config: Config) -> Callable[[int], float]:
    """The model's own arithmetic in a step, as a function of the step; `vocab_size` is set."""
    values = _phase_flops(config)
    ends = list(itertools.accumulate(phase.steps for phase in phases(config)))
    return lambda step: values[min(bisect.bisect_right(ends, step), len(ends) - 1)]


def _pairs(config: Config, length: int) -> int:
    """The most pairs of a row that the pooler reads; none where there is no head for them."""
    if config.data.pairs == "none":
        return 0
    return max_pairs(length, config.data.packing)


def _phase_flops(config: Config) -> list[float]:
    """The model's own arithmetic in a step of each phase."""
    return [
        model_flops(
            config.model,
            phase.batch_size,
            phase.length,
            prediction_count(phase.length, config.masking.rate),
            _pairs(config, phase.length),
        )
        for phase in phases(config)
    ]
