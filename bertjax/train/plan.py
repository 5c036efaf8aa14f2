"""What a configuration amounts to, without data and without training."""

import dataclasses
import math
from typing import Any

from bertjax.config import Config, phases, validate
from bertjax.data.packing import max_pairs
from bertjax.model.bert import count_parameters, model_flops

PUBLISHED_VOCABULARY = 30_522  # google-research/bert, uncased: what a config without data gets


def plan(config: Config) -> dict[str, Any]:
    """Parameters, arithmetic and tokens of a run; compiles nothing.

    Returns:
        `parameters` (both heads, the tied decoder once, without vocabulary padding),
        `model_flops` of one step of the last phase, `steps`, `positions` (rows times length over
        all steps) and `total_model_flops`.

    Raises:
        UserError: settings that cannot work.
    """
    validate(config)
    model = config.model
    if model.vocab_size is None:
        model = dataclasses.replace(model, vocab_size=PUBLISHED_VOCABULARY)
    stretches = phases(config)
    step_flops = [
        model_flops(
            model,
            phase.batch_size,
            phase.length,
            predictions=math.ceil(phase.length * config.masking.rate),
            pairs=max_pairs(phase.length) if config.data.packing else 1,
        )
        for phase in stretches
    ]
    return {
        "parameters": count_parameters(model),
        "model_flops": step_flops[-1],
        "steps": sum(phase.steps for phase in stretches),
        "positions": sum(phase.steps * phase.batch_size * phase.length for phase in stretches),
        "total_model_flops": sum(
            phase.steps * flops for phase, flops in zip(stretches, step_flops, strict=True)
        ),
    }
