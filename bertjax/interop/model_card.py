"""The `README.md` of a published model: what it is, how to use it, its data, training, figures."""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from bertjax.config import phases
from bertjax.interop.checkpoint import Checkpoint

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

_AUTO_CLASSES = {  # of transformers, and the task for which the Hub lists such a model
    "BertForPreTraining": ("AutoModelForPreTraining", "fill-mask"),
    "BertForMaskedLM": ("AutoModelForMaskedLM", "fill-mask"),
    "BertForNextSentencePrediction": ("AutoModelForNextSentencePrediction", "text-classification"),
    "BertForSequenceClassification": ("AutoModelForSequenceClassification", "text-classification"),
    "BertForTokenClassification": ("AutoModelForTokenClassification", "token-classification"),
    "BertForQuestionAnswering": ("AutoModelForQuestionAnswering", "question-answering"),
    "BertModel": ("AutoModel", "feature-extraction"),
}

_TFDS_NAME = re.compile(r"tfds:[a-z]\w*(/[\w.+-]+)?(:[\w.*]+)?([@#].*)?")  # no folder


def model_card(checkpoint: Checkpoint, name: str, architecture: str) -> str:
    """Markdown that the Hub shows, with its block of settings at the top.

    Args:
        checkpoint: what is published.
        name: its title.
        architecture: transformers' class.
    """
    tokenizer, history = checkpoint.tokenizer, checkpoint.history
    auto_class, task = _AUTO_CLASSES[architecture]
    config, case = checkpoint.config, "a cased" if tokenizer.cased else "an uncased"
    trained_here = "config" in history
    unknown = ["Not known: bertjax did not train these weights, it converted them."]
    lines = [
        *("---", "library_name: transformers", f"pipeline_tag: {task}", "tags:", "- bert", "---"),
        *("", f"# {name}", ""),
        f"A BERT of {config.num_layers} layers of {config.hidden_size} ({architecture}), with "
        f"{case} vocabulary of {tokenizer.vocab_size:,} pieces, for texts of up to "
        f"{config.max_length} tokens.",
        *("", "## How to use", ""),
        *_usage(name, auto_class, task, tokenizer),
        *("", "## Data", ""),
        *(_data(checkpoint) if trained_here else unknown),
        *("", "## Training", ""),
        *(_training(checkpoint) if trained_here else unknown),
        *("", "## Figures", ""),
        *_figures(checkpoint),
    ]
    return "\n".join(lines) + "\n"


def _usage(name: str, auto_class: str, task: str, tokenizer: "Tokenizer") -> list[str]:
    lines = [
        "```python",
        f"from transformers import {auto_class}, AutoTokenizer",
        "",
        f'tokenizer = AutoTokenizer.from_pretrained("{name}")',
        f'model = {auto_class}.from_pretrained("{name}")',
    ]
    if task == "fill-mask":
        mask = tokenizer.id_to_token(tokenizer.mask_id)
        lines[1] = f"from transformers import {auto_class}, AutoTokenizer, pipeline"
        lines += ["", f'pipeline("fill-mask", "{name}")("One {mask} and another.")']
    return [*lines, "```", "", f'Or with bertjax: `bertjax.load("{name}")`.']


def _data(checkpoint: Checkpoint) -> list[str]:
    facts = checkpoint.history.get("facts", {})
    if checkpoint.experiment.task is not None:
        rows = [(_short(facts["training_file"]), facts["training_examples"])]
        return _table(("file", "inputs"), rows)
    rows = [
        (_short(corpus["spec"]), corpus["documents"], corpus["sentences"], corpus["tokens"])
        for corpus in facts.get("corpora", [])
    ]
    digest = checkpoint.history.get("identity", {}).get("data_digest", "unknown")
    table = [*_table(("text", "documents", "sentences", "tokens"), rows), ""] if rows else []
    return [*table, f"Digest of the prepared data: `{digest}`."]


def _short(spec: str) -> str:
    """A source without the folders of the machine that it was on."""
    if not spec.startswith("tfds:"):
        return PurePath(spec).name
    if _TFDS_NAME.fullmatch(spec):
        return spec
    return f"tfds:{'/'.join(PurePath(spec.removeprefix('tfds:')).parts[-2:])}"  # NAME/VERSION


def _training(checkpoint: Checkpoint) -> list[str]:
    experiment, history = checkpoint.experiment, checkpoint.history
    optimizer, masking, task = experiment.optimizer, experiment.masking, experiment.task
    tokens = history.get("totals", {}).get("tokens")
    pretraining = (
        ("masked", f"{masking.rate:.0%}, by {masking.unit.replace('_', ' ')}"),
        ("sentence pairs", experiment.data.pairs),
    )
    rows = [
        ("steps", checkpoint.step),
        ("tokens seen", tokens if tokens is not None else "unknown"),
        *(pretraining if task is None else ()),
        ("optimizer", f"{optimizer.name}, {optimizer.schedule} schedule"),
        ("weight decay", optimizer.weight_decay),
        ("dropout", experiment.model.dropout),
        ("seed", experiment.train.seed),
    ]
    parts = [
        (part.steps, part.length, part.batch_size, part.learning_rate, part.warmup_steps)
        for part in phases(experiment)
    ]
    names = ("steps of the phase", "length", "rows per batch", "learning rate", "warmup steps")
    origin = history.get("facts", {}).get("started_from")
    trained = "Pretrained"
    if task is not None:
        origin = origin or "random weights"
        trained = f"Fine-tuned for {task.kind.replace('_', ' ')}"
    return [
        f"{trained} with bertjax{f', started from {origin}' if origin else ''}.",
        "",
        *_table(("setting", "value"), rows),
        "",
        *_table(names, parts),
    ]


def _figures(checkpoint: Checkpoint) -> list[str]:
    known = checkpoint.history.get("validation") or {}
    figures = [(name, value) for name, value in known.items() if value is not None]
    if not figures:
        return ["None are known."]
    where = "On the dev file, by which the best step is chosen:"
    if checkpoint.experiment.task is None:
        where = "On the part of the text that was kept for validation, 15% of its tokens masked:"
    return [
        where,
        "",
        *_table(("figure", "value"), figures),
    ]


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    def line(cells: Sequence[Any]) -> str:
        return f"| {' | '.join(_readable(cell) for cell in cells)} |"

    return [line(names), f"|{'---|' * len(names)}", *map(line, rows)]


def _readable(cell: Any) -> str:
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell).replace("|", r"\|")
