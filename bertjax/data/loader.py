"""Batches as a pure function of (documents, settings, seed, step).

Which window and which row a step needs is arithmetic (see `bertjax.data.windows`), so any step can
be asked for at once and the position in the data is the step number alone. Hosts take their rows
of the global batch last: what a step holds is the same for any number of hosts. A batch of 1,024
rows or more comes from several windows at once, and a host reads those alone that its rows are in;
a smaller one comes from one window, which every host reads.

A phase of training with its own length or batch size has its own `Batches`, with the seed
`fold_in(seed, number of the phase)` and steps counted from the phase's start.
"""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from bertjax.config import DataConfig
from bertjax.data.packing import max_pairs
from bertjax.data.rows import Batch, SpecialIds, empty_batch, fill_rows
from bertjax.data.windows import (
    Documents,
    Stream,
    Window,
    count_windows,
    draw_window,
    epoch_stream,
    rows_per_window,
)

_LANE_ROWS = 512  # from twice as many rows on, a batch is read from several windows at once
_PREFETCHED_TOKENS = 1 << 20  # half a window
_VALIDATION_SEED = 0
_STEPS = 1 << 40  # epochs follow one another without end


class Batches(Sequence[Batch]):
    """A host's training batches, `batches[step]`: epoch after epoch, pairs drawn afresh in each.

    Attributes:
        length: positions of a row.
        rows: rows of this host.
        windows: windows of an epoch.
        rows_per_window: rows that every window gives; an epoch has `windows` times as many.
    """

    def __init__(
        self,
        documents: Documents,
        special_ids: SpecialIds,
        data: DataConfig,
        batch_size: int,
        seed: int,
        slots: np.ndarray | None = None,
    ) -> None:
        """Draws the first epoch.

        Args:
            documents: the training split, from `open_split`.
            special_ids: the tokenizer, or anything with its `pad_id`, `classifier_id` and
                `separator_id`.
            data: settings.
            batch_size: rows over all hosts.
            seed: the same seed gives the same batches.
            slots: which rows of each batch are this host's, int64 [rows]; None: all.

        Raises:
            UserError: too few documents.
        """
        self._slots = np.arange(batch_size) if slots is None else slots
        self.length = data.length
        self.rows = len(self._slots)
        self._pairs_per_row = max_pairs(data.length, data.packing)
        self._documents, self._special_ids, self._data = documents, special_ids, data
        self._batch_size, self._seed = batch_size, seed
        self._lanes = _count_lanes(batch_size)
        self._lock = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._windows: dict[int, Window] = {}
        self._drawing = threading.Thread()  # the windows that come next
        self.windows = count_windows(documents.token_counts, data.pairs)
        self.rows_per_window = rows_per_window(documents, self.windows, data, self._stream)

    def __len__(self) -> int:
        return _STEPS

    def __getitem__(self, step: int) -> Batch:  # pyright: ignore[reportIncompatibleMethodOverride]
        """This host's rows of a step's batch, as `empty_batch` describes the arrays."""
        if not 0 <= step < _STEPS:
            raise IndexError(f"step {step}")
        windows, rows = self._locate(step)
        empty = empty_batch(self.rows, self.length, self._pairs_per_row, self._special_ids)
        batch = _fill(empty, windows, rows, self.window, self._special_ids)
        self._draw_ahead(step)
        return batch

    def window(self, number: int) -> Window:
        """A window by its number since the start of training; the latest ones are kept."""
        window = self._windows.get(number)
        if window is None:
            with self._lock:
                window = self._windows.get(number)
                if window is None:
                    window = self._draw(number)
                    _remember(self._windows, number, window, 2 * self._lanes + 1)
        return window

    def _draw_ahead(self, step: int) -> None:
        """From the middle of the windows on the next ones are drawn, beside the training.

        All lanes come to the end of a window at the same step, and a host may have many of them.
        The thread is no daemon, which aborts Python where it ends in the middle of a read: a read
        that never returns keeps the process.
        """
        half = self.rows_per_window * self._lanes // (2 * self._batch_size)
        if half == 0 or self._drawing.is_alive():
            return
        numbers, _ = self._locate(step + half)
        if missing := set(numbers.tolist()) - self._windows.keys():
            self._drawing = threading.Thread(target=self._draw_all, args=[sorted(missing)])
            self._drawing.start()

    def _draw_all(self, numbers: list[int]) -> None:
        with contextlib.suppress(Exception):  # whoever needs a window is told
            for number in numbers:
                if threading.main_thread().is_alive():  # Python waits for this thread at its end
                    self.window(number)

    def _draw(self, number: int) -> Window:
        epoch, place = divmod(number, self.windows)
        stream = self._stream(epoch)
        return draw_window(self._documents, stream, place, self._data, self.rows_per_window)

    def _stream(self, epoch: int) -> Stream:
        stream = self._streams.get(epoch)
        if stream is None:
            counts = self._documents.token_counts
            stream = epoch_stream(counts, self.windows, self._seed, epoch)
            _remember(self._streams, epoch, stream, 2)
        return stream

    def _locate(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The window, and the row in it, of each of this host's slots: int64 [rows] each.

        The slots of a lane read every so many windows, so hosts without a common lane read
        different documents.
        """
        lane_rows = self._batch_size // self._lanes
        lanes, places = np.divmod(self._slots, lane_rows)
        turns, rows = np.divmod(step * lane_rows + places, self.rows_per_window)
        return turns * self._lanes + lanes, rows


class ValidationBatches(Sequence[Batch]):
    """A host's part of every pair of one fixed drawing, each exactly once.

    The last batch is filled up with empty rows. The windows are held in memory: about five bytes
    per token.
    """

    def __init__(
        self,
        documents: Documents,
        special_ids: SpecialIds,
        data: DataConfig,
        batch_size: int,
        slots: np.ndarray | None = None,
        max_rows: int | None = None,
    ) -> None:
        """Draws the windows; arguments as of `Batches`, and:

        Args:
            max_rows: stop after so many; they do not depend on the batch size.
        """
        self._slots = np.arange(batch_size) if slots is None else slots
        self.length = data.length
        self.rows = len(self._slots)
        self._pairs_per_row = max_pairs(data.length, data.packing)
        self._special_ids, self._batch_size = special_ids, batch_size
        count = count_windows(documents.token_counts, data.pairs)
        stream = epoch_stream(documents.token_counts, count, _VALIDATION_SEED, 0)
        self._windows: list[Window] = []
        most, rows = math.inf if max_rows is None else max_rows, 0
        for number in range(count):
            self._windows.append(draw_window(documents, stream, number, data, None))
            rows += len(self._windows[-1].starts) - 1
            if rows >= most:
                break
        self._ends = np.cumsum([len(window.starts) - 1 for window in self._windows])
        self._count = int(min(rows, most))

    def __len__(self) -> int:
        return math.ceil(self._count / self._batch_size)

    def __getitem__(self, step: int) -> Batch:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Batch number `step`, as `empty_batch` describes the arrays."""
        if not 0 <= step < len(self):
            raise IndexError(f"batch {step} of {len(self)}")
        numbers = step * self._batch_size + self._slots
        windows = np.searchsorted(self._ends, numbers, side="right")
        rows = numbers - np.concatenate([[0], self._ends])[windows]
        windows[numbers >= self._count] = -1
        empty = empty_batch(self.rows, self.length, self._pairs_per_row, self._special_ids)
        return _fill(empty, windows, rows, self._windows.__getitem__, self._special_ids)


def prefetch(
    batches: Batches | ValidationBatches, start: int = 0, stop: int | None = None
) -> Iterator[Batch]:
    """The batches from `start` up to `stop` (None: to the end), made ahead on two threads."""
    import grain

    ahead = _PREFETCHED_TOKENS // (batches.rows * batches.length)
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=min(max(ahead, 2), 256))
    return iter(grain.MapDataset.source(batches)[start:stop].to_iter_dataset(options))


def _fill(
    batch: Batch,
    windows: np.ndarray,
    rows: np.ndarray,
    window: Callable[[int], Window],
    special_ids: SpecialIds,
) -> Batch:
    """Writes these rows of these windows into an empty batch, which comes back; -1: no window."""
    changes = (np.flatnonzero(np.diff(windows)) + 1).tolist()
    for start, stop in zip([0, *changes], [*changes, len(rows)], strict=True):
        if windows[start] >= 0:
            part = {name: array[start:stop] for name, array in batch.items()}
            fill_rows(part, window(int(windows[start])), rows[start:stop], special_ids)
    return batch


def _count_lanes(batch_size: int) -> int:
    """The largest power of two that divides the batch into lanes of at least 512 rows."""
    lanes = 1
    while batch_size % (2 * lanes) == 0 and batch_size // (2 * lanes) >= _LANE_ROWS:
        lanes *= 2
    return lanes


def _remember(cache: dict[int, Any], key: int, value: Any, most: int) -> None:
    """Adds to a cache that forgets its oldest entry."""
    while len(cache) >= most:
        del cache[next(iter(cache))]
    cache[key] = value
