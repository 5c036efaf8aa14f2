"""The learning rate as a function of the step, and AdamW and LAMB with BERT's weight-decay mask."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bertjax.config import Config, OptimizerConfig, Phase, phases

Schedule = Callable[[Any], jax.Array]
_NOT_DECAYED = ("bias", "scale")


def learning_rate(config: Config) -> Schedule:
    """The learning rate of every step of a run: a pure function, of a Python or a traced integer.

    The rate of the step's phase, times the phase's linear warmup from 0 (step 0 of a phase that
    warms up has rate 0, as in google-research/bert optimization.py), times `optimizer.schedule`,
    which runs once over all the phases: sequences may grow longer without the decay starting anew,
    as in Devlin et al. 2018, appendix A.2. A phase with `restart_schedule` begins a schedule of its
    own, and the one before it ends there, as in You et al. 2020, section 4.1.
    """
    stretches = [
        (start, _schedule(config.optimizer, parts)) for start, parts in _stretches(phases(config))
    ]

    def rate(step: Any) -> jax.Array:
        step, found = jnp.asarray(step, jnp.int32), jnp.float32(0)
        for start, schedule in stretches:
            found = jnp.where(step >= start, schedule(step - start), found)
        return found

    return rate


def _stretches(parts: Sequence[Phase]) -> list[tuple[int, list[Phase]]]:
    """The phases that share a schedule, and the step at which each such stretch starts."""
    found, start = [], 0
    for phase in parts:
        if not found or phase.restart_schedule:
            found.append((start, []))
        found[-1][1].append(phase)
        start += phase.steps
    return found


def _schedule(optimizer: OptimizerConfig, parts: Sequence[Phase]) -> Schedule:
    """The rate of phases under one schedule, by the step counted from the first one's start."""
    ends = list(itertools.accumulate(phase.steps for phase in parts))
    starts = [0, *ends[:-1]]

    def rate(step: jax.Array) -> jax.Array:
        peak = jnp.float32(0)
        for phase, start in zip(parts, starts, strict=True):
            peak = jnp.where(step >= start, _warmed_up(phase, step - start), peak)
        return peak * _decay(optimizer, step, parts[0].warmup_steps, ends[-1])

    return rate


def _warmed_up(phase: Phase, step: jax.Array) -> jax.Array:
    """The phase's rate at a step counted from its start."""
    share = jnp.minimum(1.0, step / phase.warmup_steps) if phase.warmup_steps else 1.0
    return jnp.asarray(phase.learning_rate * share, jnp.float32)


def _decay(optimizer: OptimizerConfig, step: jax.Array, warmup: int, last: int) -> jax.Array:
    """What the schedule leaves of the rate: 1 after the first warmup, 0 after the last step.

    As in Hugging Face's and optax's schedules; google-research/bert's optimization.py counts the
    decay from step 0, so that a linear one is (last - warmup) / last of this.
    """
    after = max(last - warmup, 1)
    left = jnp.clip((last - step) / after, 0.0, 1.0)
    match optimizer.schedule:
        case "linear":
            return left
        case "cosine":
            return 0.5 * (1.0 - jnp.cos(jnp.pi * left))
        case "wsd":  # warmup, stable, then linear decay (Hu et al. 2024, MiniCPM, section 4)
            decay = min(max(optimizer.decay_share * last, 1.0), after)
            return jnp.clip((last - step) / decay, 0.0, 1.0)
        case "constant":
            return jnp.float32(1)


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformationExtraArgs:
    """Clipping by the global norm, then AdamW or LAMB, at a learning rate of 1.

    `update` takes a bool scalar `finite` besides: where it is false the state stays as it was, and
    what comes out must not be used.

    The step multiplies the update by `learning_rate(config)(step)` itself, so that the rate depends
    on the step alone and not on a counter inside the optimizer state. AdamW is that of Loshchilov &
    Hutter 2019 with bias correction.
    """
    direction = [
        _adam(config),
        optax.add_decayed_weights(config.weight_decay, mask=weight_decay_mask),
    ]
    if config.name == "lamb":
        direction.append(_by_trust_ratio())
    parts = [_clip(config.clip_norm), optax.chain(*direction, optax.scale(-1))]
    if config.layer_decay < 1 or config.frozen_layers:
        parts.append(optax.stateless(lambda updates, _: _by_layer(updates, config)))
    return optax.with_extra_args_support(optax.chain(*parts))


def _clip(most: float) -> optax.GradientTransformation:
    """Gradients of at most this global norm; by one factor, which fuses into what uses them."""

    def clip(gradients: Any, _: Any) -> Any:
        factor = jnp.minimum(1.0, most / optax.tree.norm(gradients))
        return jax.tree.map(lambda gradient: factor * gradient, gradients)

    return optax.stateless(clip)


def _adam(config: OptimizerConfig) -> optax.GradientTransformationExtraArgs:
    """Adam's direction and state (Kingma & Ba 2015, Algorithm 1), in few passes over memory.

    On a CPU the new moments are finished before the direction is taken from them. XLA would compute
    them once more for it instead, out of copies of the old ones.
    """

    def update(
        updates: Any, state: Any, params: Any = None, *, finite: Any = True, **others: Any
    ) -> tuple[Any, Any]:
        """The direction and the new moments; the old ones where `finite`, a bool [], is False."""
        del params, others

        def moment(old: jax.Array, gradient: jax.Array, beta: float, order: int) -> jax.Array:
            return jnp.where(finite, beta * old + (1 - beta) * gradient**order, old)

        first = jax.tree.map(lambda m, g: moment(m, g, config.beta1, 1), state.mu, updates)
        second = jax.tree.map(lambda v, g: moment(v, g, config.beta2, 2), state.nu, updates)
        first, second = jax.lax.platform_dependent(
            (first, second), cpu=jax.lax.optimization_barrier, default=lambda moments: moments
        )
        count = state.count + jnp.asarray(finite, jnp.int32)
        seen, seen_squares = _seen(config.beta1, count), _seen(config.beta2, count)
        direction = jax.tree.map(
            lambda m, v: m / seen / (jnp.sqrt(v / seen_squares) + config.epsilon), first, second
        )
        return direction, optax.ScaleByAdamState(count, first, second)

    return optax.GradientTransformationExtraArgs(optax.scale_by_adam().init, update)


def _seen(beta: float, count: jax.Array) -> jax.Array:
    """1 - beta**count: the weight of all gradients so far; a power in float32 is too coarse."""
    return -jnp.expm1(count * (math.log(beta) if beta else -math.inf))


def _by_trust_ratio() -> optax.GradientTransformation:
    """Each array's update as long as the array itself (You et al. 2020, Algorithm 2).

    Not for biases and layer norms: their ratio is 1 in the authors' code (google-research/albert
    lamb_optimizer.py, tensorflow/addons) and in NVIDIA's (apex FusedLAMB). A bias starts at 0, and
    with the ratio it could only grow by shares of itself.

    The state has the form of `optax.lamb`'s, without the mask's own: older checkpoints hold that.
    """
    masked = optax.masked(optax.scale_by_trust_ratio(), weight_decay_mask)

    def scale(updates: Any, params: Any) -> Any:
        return masked.update(updates, masked.init(params), params)[0]

    return optax.stateless(scale)


def _by_layer(updates: Any, config: OptimizerConfig) -> Any:
    """Less of each layer's update the deeper it lies (Clark et al. 2020, ELECTRA, appendix B).

    The heads keep theirs, the last layer gets `layer_decay` times its own, the one below that
    squared; the embeddings lie below the first layer. These are the exponents of BEiT
    (microsoft/unilm, optim_factory.py); google-research/electra's are greater by one. Frozen
    layers keep nothing.
    """
    count = len(updates["layers"])

    def scale(path: tuple[Any, ...], update: jax.Array) -> jax.Array:
        depth = layer_depth(path)
        if depth is None:
            return update
        kept = depth > config.frozen_layers or not config.frozen_layers
        return update * (config.layer_decay ** (count + 1 - depth) if kept else 0.0)

    return jax.tree_util.tree_map_with_path(scale, updates)


def layer_depth(path: tuple[Any, ...]) -> int | None:
    """How far up a parameter lies: 0 in the embeddings, 1 in the first layer; None in a head."""
    names = [str(getattr(part, "key", part)) for part in path[:2]]
    if names[0] == "embeddings":
        return 0
    return int(names[1]) + 1 if names[0] == "layers" else None


def weight_decay_mask(params: Any) -> Any:
    """True for the parameters that decay: matrices and tables, not biases and layer norms.

    google-research/bert optimization.py excludes the names LayerNorm, layer_norm and bias; here
    that is every parameter of rank below 2, and those named bias or scale.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, value: value.ndim > 1 and _last_name(path) not in _NOT_DECAYED, params
    )


def _last_name(path: tuple[Any, ...]) -> str:
    return str(getattr(path[-1], "key", path[-1])) if path else ""
