"""A fine-tuning config made whole: with the checkpoint's encoder, steps, and labels."""

import dataclasses
import math

from bertjax.config import (
    Config,
    DataConfig,
    MaskingConfig,
    ModelConfig,
    phases,
)
from bertjax.errors import UserError
from bertjax.setting_checks import check_numbers
from bertjax.tasks.example_batches import steps_of
from bertjax.tasks.task import Task

# The rest is the checkpoint's.
_MODEL_SETTINGS = ("dropout", "attention_dropout", "attention", "epilogues", "remat")


def with_model(config: Config, model: ModelConfig) -> Config:
    """A fine-tuning config with the checkpoint's encoder, but its own `_MODEL_SETTINGS`.

    The `config.json` of a fine-tuning run is one too: what this filled in there is accepted.

    Raises:
        UserError: it has no task, settings that fine-tuning does not take, or another encoder's.
    """
    if config.task is None:
        raise UserError("a config for pretraining: take one of configs/finetune, or add a task")
    data = DataConfig(config.data.length, pairs="none")
    if (
        config.masking != MaskingConfig()
        or config.data not in (DataConfig(config.data.length), data)
        or config.train.phases
    ):
        raise UserError("fine-tuning takes no masking, no train.phases, and of data the length")
    asked, default = dataclasses.asdict(config.model), dataclasses.asdict(ModelConfig())
    known = dataclasses.asdict(model)
    own = {name: asked.pop(name) for name in _MODEL_SETTINGS}
    if config.data == data:  # a run's config; labels follow from its task
        del asked["labels"]
    for name, value in asked.items():
        if value not in (default[name], known[name]):
            raise UserError(
                f"model.{name}={value}: the checkpoint says what it is, {known[name]}; leave it out"
            )
    return dataclasses.replace(config, model=dataclasses.replace(model, **own), data=data)


def with_planned_steps(config: Config, examples: int) -> Config:
    """The config with `train.steps`; it evaluates once an epoch, or oftener.

    Checkpoints are as near to each other as `train.checkpoint_every` asks, and fall on every
    evaluation, so that the best step is among them; the newest and the best are kept.

    Raises:
        UserError: it has both steps and epochs, or neither, or a number that cannot be.
    """
    train = config.train
    if (train.steps is None) == (train.epochs is None):
        raise UserError(
            "give train.epochs or train.steps, and not both; --train.steps=none takes the steps of "
            "a run's config.json back"
        )
    check_numbers(config)
    epoch = steps_of(1, examples, train.batch_size)
    steps = train.steps or steps_of(train.epochs or 0, examples, train.batch_size)
    every = min(train.evaluate_every, epoch, steps)
    saves = math.ceil(every / min(train.checkpoint_every, every))  # from one evaluation to the next
    between = every // saves
    train = dataclasses.replace(
        train,
        steps=steps,
        evaluate_every=between * saves,
        checkpoint_every=between,
        keep_checkpoints=1,
    )
    return dataclasses.replace(config, train=train)


def check_warmup(config: Config) -> None:
    """Refuses a run that would end before its learning rate is reached; raises UserError.

    Pretraining may be cut short to try it out; here the default of `optimizer.warmup_steps`, which
    is for a million steps, would pass unnoticed.
    """
    (phase,) = phases(config)
    if phase.warmup_steps > phase.steps:
        raise UserError(
            f"optimizer.warmup_steps={phase.warmup_steps}: more than the whole run, {phase.steps}; "
            "--optimizer.warmup_share=0.1 warms up over a tenth of them"
        )


def with_task(config: Config, task: Task) -> Config:
    """The config that says what the outputs stand for, for whoever opens the run."""
    model = dataclasses.replace(config.model, labels=task.labels)
    return dataclasses.replace(config, model=model, task=task.settings)
