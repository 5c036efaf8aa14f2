"""Dropout by our counter hash and by `jax.random`: the same validation curve within seed noise?

    python -m scripts.benchmark.dropout_curves DATA [--seeds 0 1 2] [--steps 1000] [--json]

DATA is a folder that `bertjax prepare` made. For every seed a tiny BERT is trained twice with
dropout 0.1: same weights, batches and masks, other dropout bits. The rows are 16 tokens long, which
lets a model of this size leave the plateau of word frequencies early (see configs/tiny.py).
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from unittest import mock

import jax

from bertjax.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainConfig
from bertjax.data import loader
from bertjax.data.shards import open_split
from bertjax.files import write_whole
from bertjax.model import dropout
from bertjax.model.positions import Selected
from bertjax.text.tokenizer import load_tokenizer
from bertjax.train.host_memory import keep_freed_memory
from bertjax.train.masking import masking_table
from bertjax.train.mesh import batch_sharding, put_batch
from bertjax.train.objective import mlm_nsp_objective
from bertjax.train.program import make_program
from bertjax.train.state import initial_state, named_key

_LENGTH, _ROWS = 16, 64
_VALIDATION_BATCHES = 64
Curve = dict[int, float]  # step -> mlm_loss on the validation split


def threefry_bits(
    key: jax.Array,
    site: int | jax.Array,
    row_ids: jax.Array,
    shape: tuple[int, ...],
    selected: Selected | None = None,  # noqa: ARG001
) -> jax.Array:
    """What `dropout.dropout_bits` gives, drawn by `jax.random` instead."""
    return jax.random.bits(jax.random.fold_in(key, site), (*row_ids.shape, *shape))


BITS = {"counter hash": dropout.dropout_bits, "jax.random": threefry_bits}


def main() -> None:
    arguments = parse_arguments()
    keep_freed_memory()
    done = read_results(arguments.results)
    for seed in arguments.seeds:
        for name, bits in BITS.items():
            if (name, seed) in done:
                continue
            started = time.perf_counter()
            jax.clear_caches()  # of layers that were traced with other bits
            with mock.patch.object(dropout, "dropout_bits", bits):
                done[name, seed] = train(arguments, seed)
            jax.clear_caches()
            seconds = time.perf_counter() - started
            print(f"seed {seed}, {name}: {seconds:.0f} s", file=sys.stderr, flush=True)
            write_results(arguments.results, done)
    curves = {name: [done[name, seed] for seed in arguments.seeds] for name in BITS}
    print(table(curves))
    print(verdict(curves))
    if arguments.json:
        print(json.dumps({"seeds": arguments.seeds, "mlm_loss": curves}))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--evaluate-every", type=int, default=200)
    parser.add_argument("--results", type=Path, help="a file: what stands in it is not done again")
    parser.add_argument("--json", action="store_true", help="the figures on the last line")
    return parser.parse_args()


def read_results(file: Path | None) -> dict[tuple[str, int], Curve]:
    """The trainings that are done, by bits and seed."""
    if file is None or not file.exists():
        return {}
    found = json.loads(file.read_text())
    return {
        (name, seed): {int(step): loss for step, loss in curve.items()}
        for name, seed, curve in found
    }


def write_results(file: Path | None, done: dict[tuple[str, int], Curve]) -> None:
    if file is not None:
        lines = json.dumps([[*key, curve] for key, curve in done.items()])
        write_whole(file, lambda temporary: temporary.write_text(lines))


def make_config(arguments: argparse.Namespace, vocab_size: int, seed: int) -> Config:
    """The model and the rates of configs/tiny.py, with dropout."""
    return Config(
        model=ModelConfig(
            num_layers=2,
            hidden_size=128,
            num_heads=2,
            intermediate_size=512,
            vocab_size=vocab_size,
            max_length=128,
            dropout=0.1,
            attention="plain",  # a kernel would not use the replaced bits
            epilogues="plain",
            initializer_range=0.05,
        ),
        data=DataConfig(length=_LENGTH),
        optimizer=OptimizerConfig(
            learning_rate=1.5e-3, warmup_steps=100, weight_decay=0.0, beta2=0.98
        ),
        train=TrainConfig(steps=arguments.steps, batch_size=_ROWS, seed=seed),
    )


def train(arguments: argparse.Namespace, seed: int) -> Curve:
    """One training; the seed decides weights, batches, masks and dropout."""
    tokenizer = load_tokenizer(f"{arguments.data}/tokenizer")
    table = masking_table(tokenizer.continues_word, tokenizer.special_ids, tokenizer.mask_id)
    config = make_config(arguments, tokenizer.vocab_size, seed)
    batches = loader.Batches(
        open_split(arguments.data, "train"), tokenizer, config.data, _ROWS, seed
    )
    validation = loader.ValidationBatches(
        open_split(arguments.data, "validation"), tokenizer, config.data, _ROWS
    )
    held_out = [validation[number] for number in range(min(_VALIDATION_BATCHES, len(validation)))]
    objective = mlm_nsp_objective(config, table, batches.__getitem__, held_out)
    program = make_program(objective, config, jax.devices()[:1])
    state = initial_state(objective.init, program.optimizer, seed, program.shardings)
    key, sharding = named_key(seed, "train"), batch_sharding(program.mesh)
    curve = {}
    for step in range(arguments.steps):
        state, _ = program.step(state, put_batch(batches[step], sharding), key)
        if (step + 1) % arguments.evaluate_every == 0 or step + 1 == arguments.steps:
            loss = objective.evaluate(state["params"])["mlm_loss"]
            assert loss is not None
            curve[step + 1] = loss
    return curve


def table(curves: dict[str, list[Curve]]) -> str:
    """Validation mlm_loss: mean and standard deviation over the seeds, in Markdown."""
    lines = [
        "| step | " + " | ".join(curves) + " | difference of the means | of the pairs |",
        "|---:|" + "---:|" * (len(curves) + 2),
    ]
    for step in next(iter(curves.values()))[0]:
        ours, theirs = (at(runs, step) for runs in curves.values())
        pairs = [our - their for our, their in zip(ours, theirs, strict=True)]
        cells = [cell(ours), cell(theirs), f"{statistics.fmean(pairs):+.4f}"]
        cells.append(", ".join(f"{pair:+.4f}" for pair in pairs))
        lines.append(f"| {step} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def at(runs: list[Curve], step: int) -> list[float]:
    return [curve[step] for curve in runs]


def cell(values: list[float]) -> str:
    return f"{statistics.fmean(values):.4f} ± {spread(values):.4f}"


def spread(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else float("nan")


def verdict(curves: dict[str, list[Curve]]) -> str:
    """The last difference of the means beside its standard error over seeds."""
    step = max(next(iter(curves.values()))[0])
    ours, theirs = (at(runs, step) for runs in curves.values())
    error = ((spread(ours) ** 2 + spread(theirs) ** 2) / len(ours)) ** 0.5
    difference = statistics.fmean(ours) - statistics.fmean(theirs)
    return f"step {step}: the means differ by {difference:+.4f}, standard error {error:.4f}"


if __name__ == "__main__":
    main()
