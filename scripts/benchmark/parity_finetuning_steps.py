"""A short fine-tuning by Hugging Face and PyTorch, loss by loss: the same training.

    python -m scripts.benchmark.parity_finetuning_steps CONFIG --train FILE --dev FILE [--steps 40]

As `parity_finetuning` for a classification or regression, but without dropout, from the same
weights (bertjax's new head is copied over) and with the same examples in every batch, so that
nothing is left to chance: packing, model, loss, gradients, clipping, weight decay and AdamW are
compared. Token ids and learning rates are bertjax's on both sides. `--steps` takes the place of the
config's epochs: warmup and decay fit into them.
"""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import transformers  # pyright: ignore[reportMissingImports]

from bertjax.api import load_initial
from bertjax.config import Config
from bertjax.tasks.example_batches import ExampleBatches
from bertjax.tasks.finetune import finetune
from bertjax.tasks.finetune_config import with_model, with_planned_steps, with_task
from bertjax.tasks.labelled_task import labelled_task
from bertjax.tasks.task_objective import task_objective
from bertjax.train.initial import InitialWeights, complete_params
from scripts.benchmark.parity_finetuning import (
    adamw,
    arguments,
    batches,
    config_of,
    device,
    examples_of,
    in_one_line,
    schedule,
    train_step,
)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--steps", type=int, default=40)
    parsed, overrides = parser.parse_known_args()

    fixed = ["--model.dropout=0", "--train.log_every=1", f"--train.steps={parsed.steps}"]
    config = config_of(parsed.config, [*overrides, *fixed])
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=None))
    initial = load_initial(parsed.model)
    found = ours(config, initial, parsed.train, parsed.dev)
    expected = theirs(config, initial, parsed.model, parsed.train)
    for step in range(0, parsed.steps, max(1, parsed.steps // 8)):
        print(f"step {step + 1}: {found[step]:.6f}, PyTorch {expected[step]:.6f}")
    print(f"{parsed.steps} losses differ by at most {np.abs(found - expected).max():.2g}")


def ours(config: Config, initial: InitialWeights, train: Path, dev: Path) -> np.ndarray:
    """The loss of every step of `bertjax finetune`, float64 [steps]."""
    with tempfile.TemporaryDirectory() as run:
        finetune(config, initial, train, dev, run)
        lines = (Path(run) / "metrics.jsonl").read_text().splitlines()
    return np.array([line["loss"] for line in map(json.loads, lines) if "loss" in line])


def theirs(config: Config, initial: InitialWeights, model: str, train: Path) -> np.ndarray:
    """The same from PyTorch."""
    tokenizer = initial.tokenizer
    own = with_model(config, initial.config)
    task = labelled_task(own, tokenizer, train)
    examples = examples_of(task, train)
    own = with_task(with_planned_steps(own, len(examples)), task)
    ordered = ExampleBatches(examples, own, tokenizer.pad_id)
    init = task_objective(task, own, ordered, lambda _: {}).init
    params = complete_params(initial, own, init, tokenizer.digest, print)

    network: Any = transformers.BertForSequenceClassification.from_pretrained(
        model,
        num_labels=len(task.labels),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    network.to(device())
    _copy(params["classification_head"]["dense"], network.classifier)
    optimizer, rates = adamw(network, config), schedule(own, config.train.steps or 0)
    network.train()
    losses = []
    for step, rate in enumerate(rates):
        chosen = [examples[index] for index in ordered.indices(step)]
        [batch] = batches(chosen, np.arange(len(chosen)), len(chosen))
        losses.append(train_step(network, optimizer, batch, rate, config))
    return np.array(losses)


def _copy(head: dict[str, Any], linear: Any) -> None:
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(np.array(head["kernel"]).T.copy()))
        linear.bias.copy_(torch.from_numpy(np.array(head["bias"])))


if __name__ == "__main__":
    sys.exit(in_one_line(main))
