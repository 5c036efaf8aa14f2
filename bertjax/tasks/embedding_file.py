"""Embeddings of a text file's lines as a `.npy` file, both of any size."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from bertjax.config import ModelConfig
from bertjax.files import check_output, write_output
from bertjax.progress import Progress
from bertjax.tasks.embedding import Embedded, EmbeddingSettings, embed
from bertjax.text.text_files import read_lines

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

_MAX_LINE_BYTES = 4 << 20


def check_files(source: Path, output: Path) -> int | None:
    """Reads the input through once, so that what is wrong in it is told before the work.

    Returns:
        its lines; None where it can be read only once, such as a pipe.

    Raises:
        UserError: an input that is no text or cannot be read, or an output that cannot be one.
    """
    check_output(source, output, "a.npy")
    if source.exists() and not (source.is_file() or source.is_dir()):
        return None
    return sum(1 for _ in read_lines(source, _MAX_LINE_BYTES, cut_long=False))


def embed_file(
    params: dict[str, Any],
    config: ModelConfig,
    tokenizer: "Tokenizer",
    source: Path,
    output: Path,
    settings: EmbeddingSettings,
    lines: int | None = None,
) -> dict[str, float | int]:
    """Writes one row per line of `source`, blank lines included: float32 [lines, hidden].

    The rows are written as they come, to a temporary file beside `output` that takes its name, and
    its place, when all are there.

    Args:
        params: the encoder's weights.
        config: its sizes.
        tokenizer: the model's.
        source: UTF-8 text, plain or `.gz`, `.xz`, `.zst`.
        output: the `.npy` file.
        settings: the pooling and what belongs to it.
        lines: how many there are, for the progress bar.

    Returns:
        `sentences`, `seconds`, `sentences_per_second` (compilation included) and `cut`, the number
        of sentences that were longer than the model takes.

    Raises:
        UserError: the input cannot be read, or the output cannot be written.
    """
    start = time.perf_counter()
    with Progress("embedding", lines, "sentence") as progress:
        texts = read_lines(source, _MAX_LINE_BYTES, cut_long=False)
        blocks = embed(params, config, tokenizer, texts, settings, progress.update)
        counts = []

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                counts.append(write_rows(file, blocks, config.hidden_size))

        write_output(output, write)
    ((sentences, cut),) = counts
    seconds = time.perf_counter() - start
    return {
        "sentences": sentences,
        "seconds": seconds,
        "sentences_per_second": sentences / seconds,
        "cut": cut,
    }


def write_rows(file: BinaryIO, blocks: Iterable[Embedded], width: int) -> tuple[int, int]:
    """Writes a `.npy` file of a number of rows that is known only at its end.

    NumPy's header leaves room for a larger number of rows, so that it can be written again.

    Args:
        file: empty, and seekable.
        blocks: float32 [rows, width] each.
        width: columns, for a file without rows.

    Returns:
        how many rows there are, and how many sentences were cut.
    """
    rows = cut = 0
    _write_header(file, rows, width)
    for vectors, cut_here in blocks:
        file.write(np.ascontiguousarray(vectors, "<f4").data)
        rows += len(vectors)
        cut += cut_here
    file.seek(0)
    _write_header(file, rows, width)
    return rows, cut


def _write_header(file: BinaryIO, rows: int, width: int) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    np.lib.format.write_array_header_1_0(file, header)
