"""Small things to train: an objective with sums and counts, and the settings of a small BERT."""

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainConfig
from bertjax.train.objective import Objective, sum_of_losses

LENGTH, WIDTH, HIDDEN = 8, 16, 32


def toy_objective(batch_size: int = 16, poison: frozenset[int] = frozenset()) -> Objective:
    """Two layers that learn a function of 8 inputs; rows have from 1 to 8 real positions.

    `poison`: steps whose gradients are not finite.
    """
    teacher = np.random.default_rng(0).normal(size=LENGTH).astype(np.float32)

    def init(key):
        shift = jax.random.uniform(key)

        def draw(*shape):  # cheap to compile, unlike jax.random.normal
            return 0.3 * jnp.sin(shift + 1.7 * jnp.arange(np.prod(shape)) ** 2).reshape(shape)

        return {
            "table": {"embedding": draw(HIDDEN, WIDTH)},
            "up": {"kernel": draw(WIDTH, HIDDEN), "bias": jnp.zeros(HIDDEN)},
            "down": {"kernel": draw(HIDDEN)},
        }

    def batch(step):
        random = np.random.default_rng([1, step])
        ids = random.integers(0, HIDDEN, (batch_size, LENGTH))
        real = np.arange(LENGTH) < random.integers(1, LENGTH + 1, (batch_size, 1))
        return {
            "token_ids": ids.astype(np.int32),
            "pair_ids": real.astype(np.int32),
            "poison": np.full(batch_size, step in poison, np.int32),
        }

    def loss(params, batch, key):
        inputs = params["table"]["embedding"][batch["token_ids"]]  # [batch, length, width]
        random = jax.random.key_data(key)[0] % 1000 + batch["row_ids"]
        noise = jnp.sin(random.astype(jnp.float32))[:, None, None]
        hidden = jnp.tanh((inputs + 0.1 * noise) @ params["up"]["kernel"] + params["up"]["bias"])
        wanted = jnp.sin(batch["token_ids"] * teacher)
        errors = (hidden @ params["down"]["kernel"] - wanted) ** 2
        errors *= jnp.where(batch["poison"][:, None] > 0, jnp.inf, 1.0)
        weights = (batch["pair_ids"] > 0).astype(jnp.float32)
        odd = weights * (batch["token_ids"] % 2)
        sums = {"mlm_loss": jnp.sum(errors * weights), "nsp_loss": jnp.sum(errors * odd)}
        return sums, {"mlm_loss": jnp.sum(weights), "nsp_loss": jnp.sum(odd)}

    @jax.jit
    def validate(params, rows):
        return loss(params, rows, jax.random.key(7))

    def evaluate(params):
        rows = batch(10**6) | {"row_ids": np.arange(batch_size)}
        sums, counts = jax.device_get(validate(params, rows))
        return {name: float(sums[name] / counts[name]) for name in sums}

    axes = {
        "table": {"embedding": ("vocab", "embed")},
        "up": {"kernel": ("embed", "mlp"), "bias": ("mlp",)},
        "down": {"kernel": ("mlp",)},
    }
    return Objective(
        init=init, batch=batch, loss=loss, evaluate=evaluate, axes=axes, criterion=sum_of_losses
    )


def toy_config(steps: int = 20, batch_size: int = 16, **train: object) -> Config:
    train = {"log_every": 1, "evaluate_every": 10, "checkpoint_every": 10} | train
    return Config(
        optimizer=OptimizerConfig(learning_rate=0.01, warmup_steps=2),
        train=TrainConfig(steps=steps, batch_size=batch_size, **train),
    )


def small_config(**train: object) -> Config:
    """One layer of 16; 6 steps of 8 rows of 32 tokens."""
    train = {"steps": 6, "batch_size": 8, "log_every": 1} | train
    return Config(
        model=ModelConfig(
            num_layers=1, hidden_size=16, num_heads=2, intermediate_size=32, max_length=64
        ),
        data=DataConfig(length=32),
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=2),
        train=TrainConfig(**train),
    )
