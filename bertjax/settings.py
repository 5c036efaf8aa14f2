"""Every setting of an experiment: typed, frozen, and checked before anything is compiled."""

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from bertjax.errors import UserError
from bertjax.task_settings import TaskConfig

LONGEST_FUSED = 1024  # positions; in float32 2048 is more than the on-chip memory of a v4 holds
HOPPER_HEAD_DIMS = (64, 128)  # sizes of a head that the GPU's attention kernel takes


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
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu"
    dropout: float = 0.1  # to the nearest of 65,536 steps
    attention_dropout: float | None = None  # of attention probabilities; None: as `dropout`
    layer_norm_epsilon: float = 1e-12
    initializer_range: float = 0.02
    attention: Literal["auto", "plain", "fused"] = "auto"  # fused: the device's own kernel
    epilogues: Literal["auto", "plain"] = "auto"  # of products; auto: kernels on a Hopper GPU
    remat: bool = False  # recompute each layer in the backward pass: less memory, a quarter slower
    labels: tuple[str, ...] = ()  # what the outputs of a classification or tagging head stand for


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
    warmup_share: float | None = None  # instead of warmup_steps: of all steps
    schedule: Literal["linear", "cosine", "wsd", "constant"] = "linear"  # over all phases
    decay_share: float = 0.1  # wsd only: of all steps, decaying to 0 (after the warmup)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-6
    layer_decay: float = 1.0  # the learning rate of each layer, as a multiple of the one above it
    frozen_layers: int = 0  # the embeddings and so many layers from below stay as they are


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
    restart_schedule: bool = False  # the decay starts anew; the phases before it end at rate 0


@dataclass(frozen=True)
class TrainConfig:
    """How long, how large, and how often to look."""

    steps: int | None = None  # None: the sum of the phases; a number scales phases in proportion
    epochs: float | None = None  # fine-tuning: times through the training file, instead of steps
    patience: int | None = None  # stop after so many evaluations without a better one
    batch_size: int = 256  # rows (fine-tuning: examples) over all devices
    seed: int = 0
    compute_dtype: Literal["float32", "bfloat16"] | None = None  # None: float32 on CPU only
    gradient_dtype: Literal["float32", "bfloat16"] = "float32"  # of the sum over devices
    accumulation: int = 1
    log_every: int = 100
    evaluate_every: int = 10_000
    checkpoint_every: int = 10_000
    keep_checkpoints: int = 3  # the newest, besides the best; fine-tuning keeps one
    deterministic: bool = False  # bit-identical on GPU too, at a cost
    profile_steps: tuple[int, int] | None = None  # the first and the last step to write a trace of
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
    task: TaskConfig | None = None  # None: pretraining


def phases(config: Config) -> tuple[Phase, ...]:
    """The phases of a run in order: the config's own, or the single one its fields describe.

    With both `train.steps` and `train.phases`, every phase keeps its share of the steps.
    """
    train = config.train
    if not train.phases:
        if train.steps is None:
            raise UserError("train.steps is not set: give the number of steps, or train.phases")
        optimizer, warmup = config.optimizer, config.optimizer.warmup_steps
        if optimizer.warmup_share is not None:
            warmup = round(optimizer.warmup_share * train.steps)
        rate = optimizer.learning_rate
        return (Phase(train.steps, config.data.length, train.batch_size, rate, warmup),)
    total = sum(phase.steps for phase in train.phases)
    if train.steps in (None, total) or total <= 0:
        return train.phases
    ends, done = [], 0
    for phase in train.phases:
        done += phase.steps
        ends.append(round(done * train.steps / total))
    return tuple(
        dataclasses.replace(
            phase,
            steps=end - start,
            warmup_steps=min(round(phase.warmup_steps * train.steps / total), end - start),
        )
        for phase, start, end in zip(train.phases, [0, *ends], ends, strict=False)
        if end > start
    )


def largest_phase(config: Config) -> Phase:
    """The phase with the most positions in a step; of equals that with the longest rows."""
    return max(phases(config), key=lambda phase: (phase.batch_size * phase.length, phase.length))


def total_steps(config: Config) -> int:
    """Steps of the whole run, over all phases."""
    return sum(phase.steps for phase in phases(config))


def with_steps(config: Config, steps: int) -> Config:
    """The config of a run that goes on to another number of steps: only its last phase changes.

    Phases that would begin at `steps` or later go. `train.phases` holds the phases as they are run.
    """
    parts, done = [], 0
    for phase in phases(config) if config.train.phases else ():
        if done < steps:
            parts.append(phase)
            done += phase.steps
    if parts:
        last = parts[-1].steps + steps - done
        warmup_steps = min(parts[-1].warmup_steps, last)
        parts[-1] = dataclasses.replace(parts[-1], steps=last, warmup_steps=warmup_steps)
    train = dataclasses.replace(config.train, steps=steps, phases=tuple(parts))
    return dataclasses.replace(config, train=train)
