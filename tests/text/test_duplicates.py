"""Which repeated lines are dropped."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.text.duplicates import LineCounter, document_hash, drop_repeated, line_hashes

LONG = "x" * 40
SHORT = "x" * 39


def repeated(folder, documents: list[list[str]]) -> np.ndarray:
    counter = LineCounter(folder / "lines")
    for lines in documents:
        counter.add(document_hash(lines), lines)
    return counter.repeated()


def documents_with(line: str, count: int) -> list[list[str]]:
    return [[f"own line {number}", line] for number in range(count)]


def test_a_line_of_40_characters_in_10_documents_is_dropped(tmp_path):
    found = repeated(tmp_path, documents_with(LONG, 10))
    assert drop_repeated(["before", LONG, "after"], found) == ["before", "after"]


def test_a_line_in_9_documents_stays(tmp_path):
    assert repeated(tmp_path, documents_with(LONG, 9)).size == 0


def test_a_line_of_39_characters_stays(tmp_path):
    assert repeated(tmp_path, documents_with(SHORT, 50)).size == 0


def test_length_is_counted_in_characters(tmp_path):
    assert repeated(tmp_path, documents_with("가" * 39, 50)).size == 0


def test_repeating_a_line_within_a_document_counts_once(tmp_path):
    assert repeated(tmp_path, [[f"{n}", LONG, LONG] for n in range(9)]).size == 0


def test_copies_of_a_document_count_once(tmp_path):
    assert repeated(tmp_path, [["same", LONG]] * 50).size == 0


def test_lines_are_found_among_many(tmp_path, monkeypatch):
    monkeypatch.setattr("bertjax.text.duplicates._BUFFERED_ENTRIES", 7)
    common = [f"{number:050d}" for number in range(30)]
    documents = [[f"{n}", *common, f"{'only here':>40}{n}"] for n in range(10)]
    found = repeated(tmp_path, documents)
    assert found.tolist() == sorted(line_hashes(common).tolist())


def test_documents_of_short_lines_take_no_memory(tmp_path):
    counter = LineCounter(tmp_path / "lines")
    tracemalloc.start()
    for number in range(5000):
        counter.add((number, 0), [SHORT])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 50_000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_as_such(tmp_path):
    counter = LineCounter(tmp_path / "lines")
    counter._files = [Path("/dev/full")] * len(counter._files)
    counter.add((1, 0), [LONG])
    with pytest.raises(OSError, match="No space left on device"):
        counter.repeated()


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=38, max_size=42), max_size=20))
def test_hashes_are_nonzero_exactly_for_long_lines(lines):
    assert [bool(value) for value in line_hashes(lines)] == [len(line) >= 40 for line in lines]
