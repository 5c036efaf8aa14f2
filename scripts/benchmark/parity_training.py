"""The same training by Hugging Face and PyTorch: same weights, batches, masks and optimizer.

    export OMP_WAIT_POLICY=passive
    python -m scripts.benchmark.parity_training DATA [--steps 300] [--layers 2 --hidden 128]
    python -m scripts.benchmark.parity_training DATA --dropout 0.1 --seeds 3 --steps 100

DATA is a folder that `bertjax prepare` made. Both sides take turns, step by step, so that they
share whatever else the machine does (without the first line PyTorch's threads spin while others
have the cores, and it can come out ten times slower than it is). Without dropout the two losses of
every step are compared; with it, their means over the last half of the steps, beside the spread
over seeds. PyTorch computes the vocabulary at the masked positions alone, as bertjax does.
"""

import argparse
import statistics
import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from bertjax.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainConfig
from bertjax.data import loader
from bertjax.data.shards import open_split
from bertjax.model.positions import classifier_positions, position_ids
from bertjax.text.tokenizer import load_tokenizer
from bertjax.train.host_memory import keep_freed_memory
from bertjax.train.masking import MaskingTable, masking_table
from bertjax.train.mesh import batch_sharding, put_batch
from bertjax.train.objective import mask_batch, mlm_nsp_objective
from bertjax.train.optimizer import learning_rate
from bertjax.train.program import make_program
from bertjax.train.state import initial_state, named_key
from scripts.benchmark import torch_peer
from tests.reference import reference_model

_WARM_UP = 3  # steps left out of the timing: compilation, first allocations


@dataclass
class Curves:
    """Losses of every step, ours and PyTorch's, and what each took by the `clock`."""

    ours: list[float]
    theirs: list[float]
    our_seconds: list[np.ndarray]
    their_seconds: list[np.ndarray]


def main() -> None:
    arguments = parse_arguments()
    jax.config.update("jax_platforms", "cpu")  # both sides on the CPU
    keep_freed_memory()
    tokenizer = load_tokenizer(f"{arguments.data}/tokenizer")
    table = masking_table(tokenizer.continues_word, tokenizer.special_ids, tokenizer.mask_id)
    config = make_config(arguments, tokenizer.vocab_size)
    batches = loader.Batches(
        open_split(arguments.data, "train"), tokenizer, config.data, arguments.batch_size, seed=0
    )
    runs = [train(config, table, batches, seed) for seed in range(arguments.seeds)]
    if arguments.dropout == 0.0:
        report_differences(runs[0])
    else:
        report_noise(runs)
    report_speed(runs[0], arguments.batch_size * arguments.length)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1, help="of dropout and masks")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    return parser.parse_args()


def make_config(arguments: argparse.Namespace, vocab_size: int) -> Config:
    """BERT's own settings at the sizes asked for; linear schedule, a tenth of it warmup."""
    return Config(
        model=ModelConfig(
            num_layers=arguments.layers,
            hidden_size=arguments.hidden,
            num_heads=max(arguments.hidden // 64, 1),
            intermediate_size=4 * arguments.hidden,
            vocab_size=vocab_size,
            dropout=arguments.dropout,
        ),
        data=DataConfig(length=arguments.length),
        optimizer=OptimizerConfig(
            learning_rate=arguments.learning_rate, warmup_steps=arguments.steps // 10
        ),
        train=TrainConfig(
            steps=arguments.steps, batch_size=arguments.batch_size, compute_dtype="float32"
        ),
    )


def train(config: Config, table: MaskingTable, batches: Any, seed: int) -> Curves:
    """Both sides over the same steps; the seed decides masks and dropout, never the weights."""
    objective = mlm_nsp_objective(config, table, batches.__getitem__, [])
    program = make_program(objective, config)
    state = initial_state(objective.init, program.optimizer, 0, program.shardings)
    reference = Reference(config, state["params"], seed)
    key, rate = named_key(seed, "step"), learning_rate(config)
    draw_masks = jax.jit(lambda key, batch: mask_batch(key, batch, table, config.masking))
    curves = Curves([], [], [], [])
    for step in range(config.train.steps or 0):
        batch = batches[step]
        rows = batch | {"row_ids": np.arange(len(batch["token_ids"]), dtype=np.int32)}
        masked = jax.device_get(draw_masks(jax.random.fold_in(key, step), rows))
        started = clock()
        placed = put_batch(batch, batch_sharding(program.mesh))
        state, figures = program.step(state, placed, key)
        curves.ours.append(float(figures["loss"]))
        turned = clock()
        curves.theirs.append(reference.step(batch, masked, float(rate(step))))
        curves.our_seconds.append(turned - started)
        curves.their_seconds.append(clock() - turned)
        if step % 50 == 0:
            print(f"step {step}: {curves.ours[-1]:.6f} {curves.theirs[-1]:.6f}", flush=True)
    return curves


class Reference:
    """Hugging Face's model under PyTorch's AdamW."""

    def __init__(self, config: Config, params: Any, seed: int) -> None:
        torch.manual_seed(seed)
        self.settings = config.optimizer
        self.model = reference_model(config.model, params, config.model.dropout, attention="sdpa")
        self.optimizer = torch_peer.adamw(self.model, config.optimizer)

    def step(self, batch: dict[str, np.ndarray], masked: Any, rate: float) -> float:
        """One update at this learning rate; returns the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = torch_peer.pretraining_loss(self.model, torch_inputs(batch, masked))
        torch_peer.update(self.model, self.optimizer, loss, self.settings.clip_norm)
        return loss.item()


def torch_inputs(batch: dict[str, np.ndarray], masked: Any) -> dict[str, torch.Tensor]:
    """A packed batch under these masks, as `torch_peer.pretraining_loss` takes it."""
    pair_ids, next_labels = batch["pair_ids"], batch["next_sentence_labels"]
    labels = np.where(masked.weights > 0, masked.labels, torch_peer.NOT_PREDICTED)
    same_pair = pair_ids[:, None, :, None] == pair_ids[:, None, None, :]
    inputs = {
        "token_ids": masked.token_ids,
        "segment_ids": batch["segment_ids"],
        "position_ids": position_ids(jnp.asarray(pair_ids)),
        "positions": masked.positions,
        "labels": labels,
        "starts": classifier_positions(jnp.asarray(pair_ids), next_labels.shape[1]),
        "next_sentence_labels": next_labels,
    }
    tensors = {name: torch_peer.tensor(array) for name, array in inputs.items()}
    return tensors | {"visible": torch.from_numpy(same_pair)}


def report_differences(curves: Curves) -> None:
    pairs = zip(curves.ours, curves.theirs, strict=True)
    differences = [abs(ours - theirs) for ours, theirs in pairs]
    for count in sorted({min(50, len(differences)), len(differences)}):
        print(f"largest loss difference over {count} steps: {max(differences[:count]):.2e}")


def report_noise(runs: list[Curves]) -> None:
    half = len(runs[0].ours) // 2
    ours = [statistics.fmean(run.ours[half:]) for run in runs]
    theirs = [statistics.fmean(run.theirs[half:]) for run in runs]
    for name, means in (("bertjax", ours), ("PyTorch", theirs)):
        spread = f", deviation over seeds {statistics.stdev(means):.4f}" if len(means) > 1 else ""
        print(f"{name}: mean loss of the last {half} steps {statistics.fmean(means):.4f}{spread}")
    print(f"difference of the means: {abs(statistics.fmean(ours) - statistics.fmean(theirs)):.4f}")


def report_speed(curves: Curves, positions: int) -> None:
    """Positions per second by the median step."""
    for column, name in enumerate(("second", "processor second")):
        ours, theirs = (
            positions / np.median(seconds[_WARM_UP:], axis=0)[column]
            for seconds in (curves.our_seconds, curves.their_seconds)
        )
        print(
            f"positions per {name}: bertjax {ours:,.0f}, PyTorch {theirs:,.0f}, "
            f"ratio {ours / theirs:.2f}"
        )


def clock() -> np.ndarray:
    """Seconds of the wall, and of all this process's threads: fair where the machine is shared."""
    return np.array([time.perf_counter(), time.process_time()])


if __name__ == "__main__":
    main()
