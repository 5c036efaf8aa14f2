"""What each subcommand of `bertjax` does with its parsed command line.

Heavy imports stand inside the functions, so that `--help` and a mistyped option answer at once.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bertjax.api import Bert
    from bertjax.config import Config
    from bertjax.train.initial import InitialWeights

from bertjax.errors import UserError
from bertjax.json_text import dump_json


def run_prepare(parsed: argparse.Namespace, _: list[str]) -> None:
    """Writes DATA and prints what is in it."""
    from bertjax.text.manifest import describe
    from bertjax.text.prepare import PrepareSettings, prepare

    settings = PrepareSettings(
        corpora=tuple(parsed.corpus),
        output=parsed.output,
        tokenizer=parsed.tokenizer,
        vocab_size=parsed.vocab_size,
        cased=parsed.cased,
        sentences=parsed.sentences,
        validation=parsed.validation,
        workers=parsed.workers,
        runner=parsed.runner,
        beam_options=tuple(parsed.beam_options),
    )
    print(describe(prepare(settings)))


def run_pretrain(parsed: argparse.Namespace, overrides: list[str]) -> None:
    """Writes RUN."""
    from bertjax.config import load_config

    config = load_config(parsed.config, overrides)  # a mistake is told before jax is imported

    from bertjax.train.pretrain import pretrain
    from bertjax.train.processes import join_processes
    from bertjax.train.together import ending_together

    def initial() -> "InitialWeights":
        from bertjax.api import load_initial

        return load_initial(parsed.init)

    names = ("coordinator_address", "num_processes", "process_id")
    hosts = {f"JAX_{name.upper()}": getattr(parsed, name) for name in names}
    if any(hosts.values()):
        if not all(hosts.values()):
            raise UserError("give all of --coordinator-address, --num-processes, --process-id")
        os.environ |= hosts
    join_processes()
    with ending_together():
        given = None if parsed.init is None else initial
        remarks = _lost_phases(parsed.config, config, overrides)
        pretrain(config, parsed.data, parsed.folder, given, remarks)


def run_finetune(parsed: argparse.Namespace, overrides: list[str]) -> None:
    """Writes RUN and prints its report."""
    from bertjax.config import load_config
    from bertjax.files import require_local, require_unicode

    config = load_config(parsed.config, overrides)  # a mistake is told before jax is imported
    for option in ("train", "dev"):
        require_local(f"--{option}", getattr(parsed, option))
    for option in ("train", "dev", "init"):  # the report names them
        require_unicode(f"--{option}", getattr(parsed, option))

    from bertjax.api import load_initial
    from bertjax.tasks.finetune import finetune
    from bertjax.tasks.report_table import report_text
    from bertjax.tasks.seeds import finetune_seeds
    from bertjax.train.processes import require_one_process

    require_one_process(parsed.command)
    initial = load_initial(parsed.init)
    files = (Path(parsed.train), Path(parsed.dev), parsed.folder)
    if parsed.seeds is None:
        report = finetune(config, initial, *files, parsed.scratch)
    else:
        report = finetune_seeds(config, initial, *files, parsed.seeds, parsed.scratch)
    print(dump_json(report) if parsed.json else report_text(report))


def run_predict(parsed: argparse.Namespace, _: list[str]) -> None:
    """Writes what a fine-tuned model makes of a file."""
    from bertjax.files import check_output

    check_output(Path(parsed.input), Path(parsed.output), "a.jsonl")  # before the weights are read
    bert = _load(parsed, parsed.run_folder)
    found = bert.predict(parsed.input, parsed.output)
    _tell_source(parsed.run_folder, bert.source)
    _print_figures(found, parsed.json)


def run_evaluate(parsed: argparse.Namespace, _: list[str]) -> None:
    """Prints a checkpoint's figures; with --report also writes what a report has besides."""
    from bertjax.files import check_output, require_local, require_unicode

    if parsed.report is not None:
        if parsed.data is None:
            raise UserError("--report is for a fine-tuned run and a labelled file: give --data")
        names = ("--data", "--report")
        check_output(Path(parsed.data), Path(parsed.report), "report.json", names)
    for option in ("data", "corpus"):  # told before the weights are read
        require_local(f"--{option}", getattr(parsed, option) or "")
    if parsed.report is not None:
        require_unicode("--data", parsed.data)  # which it names
    bert = _load(parsed, parsed.checkpoint)
    if parsed.report is None:
        figures = bert.evaluate(data=parsed.data, corpus=parsed.corpus)
        _tell_source(parsed.checkpoint, bert.source)
        _print_figures(figures, parsed.json)
        return
    from bertjax.files import write_output
    from bertjax.tasks.report_table import report_text

    report = bert.report(parsed.data)
    text = f"{dump_json(report, indent=2, ensure_ascii=False)}\n"
    write_output(Path(parsed.report), lambda file: file.write_text(text, "utf-8"))
    _tell_source(parsed.checkpoint, bert.source)
    print(dump_json(report) if parsed.json else report_text(report))


def run_embed(parsed: argparse.Namespace, _: list[str]) -> None:
    """Writes the embeddings of a file's lines and prints how fast that was."""
    from bertjax.tasks.embedding_file import check_files, embed_file

    source, output = Path(parsed.input), Path(parsed.output)
    lines = check_files(source, output)  # told before the weights are read
    bert = _load(parsed, parsed.checkpoint)
    settings = bert.embedding_settings(parsed.pooling)
    figures = embed_file(bert.params, bert.config, bert.tokenizer, source, output, settings, lines)
    _tell_source(parsed.checkpoint, bert.source)
    _print_figures(figures, parsed.json)


def run_fill_mask(parsed: argparse.Namespace, _: list[str]) -> None:
    """Prints the candidates for every mask."""
    bert = _load(parsed, parsed.checkpoint)
    masks = bert.fill_mask(parsed.text, top_k=parsed.top_k)
    _tell_source(parsed.checkpoint, bert.source)
    if parsed.json:
        candidates = [[{"token": t, "probability": p} for t, p in mask] for mask in masks]
        print(dump_json({"text": parsed.text, "masks": candidates}))
        return
    for number, mask in enumerate(masks, 1):
        words = "  ".join(f"{token} {probability:.3f}" for token, probability in mask)
        print(f"[MASK] {number}: {words}" if len(masks) > 1 else words)


def run_convert(parsed: argparse.Namespace, _: list[str]) -> None:
    """Writes a checkpoint in another format."""
    from bertjax.api import convert
    from bertjax.interop.destination import check_destination

    check_destination(parsed.destination)  # told before the weights are read
    bert = _load(parsed, parsed.checkpoint)
    convert(bert, parsed.destination, parsed.to)
    _tell_source(parsed.checkpoint, bert.source)
    print(f"wrote {parsed.destination}")


def run_plan(parsed: argparse.Namespace, overrides: list[str]) -> None:
    """Prints a configuration's size and arithmetic, and what its step is on devices not there."""
    from bertjax.config import load_config
    from bertjax.train.plan import plan, with_vocabulary
    from bertjax.train.slices import find_slice

    if parsed.largest_batch and parsed.topology is None:
        raise UserError("--largest-batch needs --topology")
    config = load_config(parsed.config, overrides)
    # Before anything is computed: from then on jax makes no further CPU devices.
    where = find_slice(parsed.topology) if parsed.topology is not None else None
    figures, remarks = plan(config), _lost_phases(parsed.config, config, overrides)
    if where is None:
        _tell(*remarks)
        _print_figures(figures, parsed.json)
        return
    from bertjax.train.ahead_of_time import plan_on
    from bertjax.train.largest_batch import largest_batch
    from bertjax.train.mesh import validate_mesh
    from bertjax.train.plan_text import plan_text

    validate_mesh(config, len(where.devices), where.platform)
    _tell(*remarks, f"compiling for {where.name}; large models take minutes")
    config = with_vocabulary(config)
    figures |= plan_on(config, where)
    if parsed.largest_batch:
        figures["largest_rows_per_chip"] = largest_batch(config, where)
    print(dump_json(figures) if parsed.json else plan_text(figures))


def _lost_phases(name: str, config: "Config", overrides: list[str]) -> list[str]:
    """A line where settings of other fields took the place of the phases of the config `name`."""
    from bertjax.config import load_config

    if config.train.phases or any(text.startswith("--train.phases=") for text in overrides):
        return []
    own = load_config(name).train.phases
    if not own:
        return []
    return [
        f"{name}: one phase of {config.train.batch_size} rows of {config.data.length} in "
        f"place of its {len(own)}, which --train.phases changes"
    ]


def _tell(*lines: str) -> None:
    for line in lines:
        print(f"bertjax: {line}", file=sys.stderr)


def _load(parsed: argparse.Namespace, checkpoint: str) -> "Bert":
    """Opens a checkpoint for a command that runs in one process."""
    from bertjax.api import load
    from bertjax.train.processes import require_one_process

    require_one_process(parsed.command)
    return load(checkpoint)


def _tell_source(path: str, source: str) -> None:
    """Says what was opened; after the work, so that a mistake is still told in a single line."""
    _tell(f"opened {path}: {source}")


def _print_figures(figures: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(dump_json(figures))
        return
    width = max(map(len, figures)) + 2
    for name, value in figures.items():
        print(f"{name:>{width}}  {_readable(value)}")


def _readable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if value < 1e6 else f"{value:.3e}"
    return f"{value:,}" if isinstance(value, int) else str(value)
