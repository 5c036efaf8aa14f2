"""One full training step on made-up text, by bertjax and by Hugging Face with PyTorch.

Each side is a function without arguments that starts the next step, and another that waits for the
last. The libraries are imported inside, so that neither side's process holds the other's.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from bertjax.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainConfig
from bertjax.train.host_memory import keep_freed_memory

Action = Callable[[], None]
_BATCHES = 4  # different ones, taken in turn
_MASKING_RATE = 0.15


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and the shape of its batches."""

    name: str
    num_layers: int
    hidden_size: int
    vocab_size: int
    batch_size: int
    length: int

    @property
    def config(self) -> Config:
        """BERT's own settings at this size: dropout 0.1, AdamW, clipping at 1."""
        model = ModelConfig(
            num_layers=self.num_layers,
            hidden_size=self.hidden_size,
            num_heads=self.hidden_size // 64,
            intermediate_size=4 * self.hidden_size,
            vocab_size=self.vocab_size,
        )
        data = DataConfig(length=self.length, packing=False)
        train = TrainConfig(steps=1_000_000, batch_size=self.batch_size)
        return Config(model=model, data=data, train=train)


@dataclasses.dataclass(frozen=True)
class Side:
    """Who computes: "bertjax", or Hugging Face in PyTorch, "eager" or "compiled"; and how."""

    kind: str
    gpu: bool = False

    @property
    def name(self) -> str:
        """For the table."""
        kinds = {
            "bertjax": "bertjax",
            "eager": "Hugging Face, PyTorch eager",
            "compiled": "Hugging Face, torch.compile",
        }
        return kinds[self.kind]


def made_up_batches(case: Case) -> list[dict[str, np.ndarray]]:
    """Rows without padding, one pair each, and for the peer's use the positions to predict."""
    rng = np.random.default_rng(0)
    shape = (case.batch_size, case.length)
    predictions = -int(-case.length * _MASKING_RATE // 1)
    batches = []
    for _ in range(_BATCHES):
        positions = np.argsort(rng.random(shape), axis=1)[:, :predictions]
        segments = np.arange(case.length) >= rng.integers(1, case.length, (case.batch_size, 1))
        batches.append(
            {
                "token_ids": rng.integers(5, case.vocab_size, shape, dtype=np.int32),
                "segment_ids": segments.astype(np.int32),
                "pair_ids": np.ones(shape, np.int32),
                "next_sentence_labels": rng.integers(0, 2, (case.batch_size, 1), dtype=np.int32),
                "positions": np.sort(positions, axis=1).astype(np.int32),
            }
        )
    return batches


def make_step(case: Case, side: Side) -> tuple[Action, Action, dict[str, Any]]:
    """A side's step, its wait, and what the table says about it."""
    return _bertjax_step(case) if side.kind == "bertjax" else _torch_step(case, side)


def _bertjax_step(case: Case) -> tuple[Action, Action, dict[str, Any]]:
    keep_freed_memory()
    import jax

    from bertjax.model.bert import count_parameters
    from bertjax.train.hardware import peak_flops
    from bertjax.train.masking import masking_table
    from bertjax.train.mesh import batch_sharding, put_batch
    from bertjax.train.objective import mlm_nsp_objective
    from bertjax.train.plan import step_flops
    from bertjax.train.program import make_program
    from bertjax.train.state import initial_state, named_key

    config = case.config
    table = masking_table(np.zeros(case.vocab_size, bool), (0, 1, 2, 3, 4), 4)
    objective = mlm_nsp_objective(config, table, {}.__getitem__, [])
    program = make_program(objective, config)
    state = initial_state(objective.init, program.optimizer, 0, program.shardings)
    key, sharding = named_key(0, "train"), batch_sharding(program.mesh)
    batches = [
        {name: rows for name, rows in batch.items() if name != "positions"}
        for batch in made_up_batches(case)
    ]
    done = 0

    def step() -> None:
        nonlocal state, done
        state, _ = program.step(state, put_batch(batches[done % _BATCHES], sharding), key)
        done += 1

    def wait() -> None:
        jax.block_until_ready(state)

    device = jax.devices()[0].device_kind
    return (
        step,
        wait,
        {
            "version": f"jax {jax.__version__}",
            "device": device,
            "parameters": count_parameters(config.model),
            "flops": step_flops(config)(0),
            "peak": peak_flops(device),
        },
    )


def _torch_step(case: Case, side: Side) -> tuple[Action, Action, dict[str, Any]]:
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    from scripts.benchmark import torch_peer

    device = "cuda" if side.gpu else "cpu"
    settings = OptimizerConfig()
    model = _torch_model(case).to(device)
    optimizer = torch_peer.adamw(model, settings)
    batches = [
        {name: torch_peer.tensor(rows, device) for name, rows in batch.items()}
        for batch in map(_torch_inputs, made_up_batches(case))
    ]
    loss = torch_peer.pretraining_loss
    if side.kind == "compiled":
        loss = torch.compile(loss)
    done = 0

    def step() -> None:
        nonlocal done
        with torch.autocast(device, torch.bfloat16, enabled=side.gpu):
            found = loss(model, batches[done % _BATCHES])
        torch_peer.update(model, optimizer, found, settings.clip_norm)
        done += 1

    def wait() -> None:
        if side.gpu:
            torch.cuda.synchronize()

    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    return step, wait, {"version": versions}


def _torch_model(case: Case) -> Any:
    from transformers import (  # pyright: ignore[reportMissingImports]
        BertConfig,
        BertForPreTraining,
    )

    model = case.config.model
    return BertForPreTraining(
        BertConfig(
            vocab_size=case.vocab_size,
            hidden_size=model.hidden_size,
            num_hidden_layers=model.num_layers,
            num_attention_heads=model.num_heads,
            intermediate_size=model.intermediate_size,
            hidden_dropout_prob=model.dropout,
            attention_probs_dropout_prob=model.dropout,
            attn_implementation="sdpa",  # pyright: ignore[reportCallIssue]
        )
    ).train()


def _torch_inputs(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """With masks drawn beforehand: bertjax draws its own in every step."""
    token_ids, positions = batch["token_ids"], batch["positions"]
    rows, length = token_ids.shape
    masked = token_ids.copy()
    np.put_along_axis(masked, positions, 4, axis=1)
    return {
        "token_ids": masked,
        "segment_ids": batch["segment_ids"],
        "position_ids": np.broadcast_to(np.arange(length), token_ids.shape),
        "positions": positions,
        "labels": np.take_along_axis(token_ids, positions, axis=1),
        "starts": np.zeros((rows, 1), np.int32),
        "next_sentence_labels": batch["next_sentence_labels"],
    }
