"""The subcommands of `bertjax`, their options, and what `--help` says about them."""

import argparse
from typing import Any, NoReturn

from bertjax.commands import (
    run_convert,
    run_embed,
    run_evaluate,
    run_fill_mask,
    run_finetune,
    run_plan,
    run_predict,
    run_prepare,
    run_pretrain,
)
from bertjax.errors import UserError


class _Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, as every other mistake is."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def command_parser() -> argparse.ArgumentParser:
    """A parser whose result has `run`, what to call with it, and `takes_overrides`."""
    parser = _Parser(prog="bertjax", description="Pretrain BERT in JAX, and use what you trained.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_prepare(commands)
    _add_pretrain(commands)
    _add_finetune(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    _add_fill_mask(commands)
    _add_embed(commands)
    _add_convert(commands)
    _add_plan(commands)
    return parser


def _add_command(
    commands: Any, name: str, run: Any, summary: str, example: str, overrides: bool = False
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, takes_overrides=overrides)
    return parser


def _add_prepare(commands: Any) -> None:
    parser = _add_command(
        commands,
        "prepare",
        run_prepare,
        "Turn raw text into token shards, with a vocabulary trained on it or one you have.",
        "bertjax prepare --corpus 'wiki/*.txt.gz' --output data/wiki --vocab-size 30000",
    )
    parser.add_argument(
        "--corpus",
        action="append",
        required=True,
        metavar="SPEC",
        help="text files or a glob (.txt .gz .xz .zst; a blank line between documents), .jsonl, "
        ".ndjson or .json (a field `text` on each line), a folder (a text file a document), "
        "tfds:NAME[/CONFIG][:VERSION][@SPLIT][#FIELD], or python-docs; may be given several times",
    )
    parser.add_argument("--output", required=True, metavar="DATA", help="the folder to write")
    parser.add_argument(
        "--tokenizer",
        default="wordpiece",
        metavar="KIND|PATH",
        help="train one (wordpiece, sentencepiece, sentencepiece:bpe), or load a vocab.txt, a "
        "SentencePiece .model or a tokenizer folder",
    )
    parser.add_argument(
        "--vocab-size",
        type=int,
        default=30_000,
        help="pieces of a vocabulary that is trained (default 30000)",
    )
    parser.add_argument("--cased", action="store_true", help="keep upper case and accents")
    parser.add_argument(
        "--sentences",
        choices=("auto", "lines", "split"),
        default="auto",
        help="lines: one a line; split: cut running text; auto (default): as the text looks",
    )
    parser.add_argument(
        "--validation", type=float, default=0.02, metavar="FRACTION", help="default 0.02"
    )
    parser.add_argument("--workers", type=int, default=None, help="processes (default: all cores)")
    parser.add_argument(
        "--runner",
        choices=("local", "beam"),
        default="local",
        help="beam: on many machines, or this one, by Apache Beam; its own options go after --",
    )
    parser.add_argument("beam_options", nargs="*", metavar="-- BEAM_OPTION", help=argparse.SUPPRESS)


def _add_pretrain(commands: Any) -> None:
    parser = _add_command(
        commands,
        "pretrain",
        run_pretrain,
        "Pretrain an encoder; an existing RUN is resumed. Every setting can be changed with "
        "--section.field=value.",
        "bertjax pretrain configs/tiny.py --data data/wiki --run runs/tiny --train.seed=1",
        overrides=True,
    )
    parser.add_argument("config", metavar="CONFIG", help="a file in configs/, or its bare name")
    parser.add_argument("--data", required=True, metavar="DATA", help="a folder made by prepare")
    parser.add_argument("--run", required=True, metavar="RUN", dest="folder", help="the run folder")
    parser.add_argument("--init", metavar="CHECKPOINT", help="start from weights of any format")
    hosts = parser.add_argument_group(
        "several hosts, where no launcher tells them of each other (or JAX_COORDINATOR_ADDRESS, "
        "JAX_NUM_PROCESSES and JAX_PROCESS_ID in the environment)"
    )
    hosts.add_argument("--coordinator-address", metavar="HOST:PORT", help="of process 0")
    hosts.add_argument("--num-processes", metavar="N", help="how many processes there are")
    hosts.add_argument("--process-id", metavar="I", help="which of them this is, from 0")


def _add_finetune(commands: Any) -> None:
    parser = _add_command(
        commands,
        "finetune",
        run_finetune,
        "Train a checkpoint for a labelled task; every setting can be changed with "
        "--section.field=value.",
        "bertjax finetune sms_spam --init runs/mini --train a.tsv --dev b.tsv --run runs/spam",
        overrides=True,
    )
    parser.add_argument("config", metavar="CONFIG", help="a Python file such as finetune/sst2")
    parser.add_argument(
        "--init", required=True, metavar="CHECKPOINT", help="what to start from, of any format"
    )
    for name, help_text in (("train", "learn from"), ("dev", "choose the best step by")):
        parser.add_argument(
            f"--{name}", required=True, metavar="FILE", help=f"labelled file to {help_text}"
        )
    parser.add_argument(
        "--run", required=True, dest="folder", metavar="RUN", help="the folder to write"
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="train N times: mean and deviation; the best is kept"
    )
    parser.add_argument(
        "--scratch",
        action="store_true",
        help="start from random weights of the checkpoint's size: what pretraining is worth",
    )
    _add_json(parser)


def _add_predict(commands: Any) -> None:
    parser = _add_command(
        commands,
        "predict",
        run_predict,
        "What a fine-tuned run makes of a file: one JSON object per row, in order.",
        "bertjax predict runs/spam --input messages.tsv --output messages.jsonl",
    )
    parser.add_argument("run_folder", metavar="RUN", help="a run of bertjax finetune")
    parser.add_argument(
        "--input", required=True, metavar="FILE", help="as the training file, labels not needed"
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="the .jsonl file to write")
    _add_json(parser)


def _add_evaluate(commands: Any) -> None:
    parser = _add_command(
        commands,
        "evaluate",
        run_evaluate,
        "Masked-word and next-sentence figures of a checkpoint, on prepared data or raw text; of "
        "a fine-tuned run, its task's metrics on a labelled file.",
        "bertjax evaluate runs/tiny --data data/wiki --json",
    )
    _add_checkpoint(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--data", metavar="DATA", help="a folder made by prepare; or a labelled file"
    )
    source.add_argument("--corpus", metavar="SPEC", help="raw text, as for prepare")
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="of a fine-tuned run: write figures, tables and samples of mistakes there, as JSON, "
        "and print them as tables",
    )
    _add_json(parser)


def _add_fill_mask(commands: Any) -> None:
    parser = _add_command(
        commands,
        "fill-mask",
        run_fill_mask,
        "The most probable words for every [MASK] in a text.",
        'bertjax fill-mask runs/tiny "The capital of France is [MASK]."',
    )
    _add_checkpoint(parser)
    parser.add_argument("text", help="a text with one or more [MASK]")
    parser.add_argument("--top-k", type=int, default=5, help="candidates per mask (default 5)")
    _add_json(parser)


def _add_embed(commands: Any) -> None:
    parser = _add_command(
        commands,
        "embed",
        run_embed,
        "A vector for every line of a text file, as float32 [lines, hidden] in a .npy file.",
        "bertjax embed runs/tiny --input sentences.txt --output sentences.npy",
    )
    _add_checkpoint(parser)
    parser.add_argument(
        "--input",
        required=True,
        metavar="FILE",
        help="UTF-8 text, plain or .gz .xz .zst, of any size; a blank line has a vector too",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE.npy",
        help="replaced, where it exists, once all vectors are there",
    )
    parser.add_argument(
        "--pooling",
        choices=("mean", "cls", "max"),
        help="over a line's tokens, or its [CLS] alone (default: the mean, or what a "
        "sentence-transformers folder says)",
    )
    _add_json(parser)


def _add_convert(commands: Any) -> None:
    parser = _add_command(
        commands,
        "convert",
        run_convert,
        "Write a checkpoint of any format as a Hugging Face folder, or as one of bertjax.",
        "bertjax convert runs/tiny published/tiny --to huggingface",
    )
    _add_checkpoint(parser)
    parser.add_argument("destination", metavar="DESTINATION", help="a new folder")
    parser.add_argument("--to", choices=("huggingface", "bertjax"), required=True)


def _add_plan(commands: Any) -> None:
    parser = _add_command(
        commands,
        "plan",
        run_plan,
        "Size and arithmetic of a configuration, without data or training; with --topology whether "
        "its step fits devices that are not there, and what they send one another.",
        "bertjax plan configs/base.py --topology v5e:2x4 --train.batch_size=128",
        overrides=True,
    )
    parser.add_argument("config", metavar="CONFIG", help="a file in configs/, or its bare name")
    parser.add_argument(
        "--topology",
        metavar="SLICE",
        help="compile the step for v4:2x2x2, v5e:16x16, v5p:..., v6e:..., tpu7x:... (needs "
        "the extra aot, takes minutes), cpu:N or gpu:N",
    )
    parser.add_argument(
        "--largest-batch",
        action="store_true",
        help="with --topology: look for the most rows per chip that fit, compiling a few times",
    )
    _add_json(parser)


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="a run or one of its steps, a Hugging Face folder, or a Google folder",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="figures as one JSON object, last line")
