import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from bertjax.config import DataConfig
from bertjax.data import windows as windows_module
from bertjax.data.loader import Batches, ValidationBatches, prefetch
from bertjax.errors import UserError
from tests.data.corpora import FIRST_TOKEN, SpecialTokens, numbered_documents, random_corpus

DATA = DataConfig(length=64)
SPECIAL = SpecialTokens()
DOCUMENTS = random_corpus(60, seed=0)


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(windows_module, "WINDOW_TOKENS", 4000)


def assert_same(batch, other):
    assert batch.keys() == other.keys()
    for name, array in batch.items():
        np.testing.assert_array_equal(array, other[name])


def pairs_in(batch):
    """The pairs of a batch as (tokens of A, tokens of B or None, label), all layout checked."""
    for token_ids, segment_ids, pair_ids, labels in zip(*batch.values(), strict=True):
        real = np.count_nonzero(pair_ids)
        assert (pair_ids[real:] == 0).all()
        assert (token_ids[real:] == SPECIAL.pad_id).all()
        assert (segment_ids[real:] == 0).all()
        count = pair_ids.max()
        assert (np.diff(pair_ids[:real]) >= 0).all()
        assert set(pair_ids[:real]) == set(range(1, count + 1))
        assert (labels[count:] == -1).all()
        for pair in range(1, count + 1):
            tokens, segments = token_ids[pair_ids == pair], segment_ids[pair_ids == pair]
            assert tokens[0] == SPECIAL.classifier_id
            assert tokens[-1] == SPECIAL.separator_id
            assert (np.diff(segments) >= 0).all()
            a, b = tokens[segments == 0], tokens[segments == 1]
            assert a[-1] == SPECIAL.separator_id
            assert (a[1:-1] >= FIRST_TOKEN).all()
            assert (b[:-1] >= FIRST_TOKEN).all()
            yield tuple(a[1:-1]), tuple(b[:-1]) if len(b) else None, labels[pair - 1]


@pytest.mark.parametrize(("packing", "pairs"), [(True, 4), (False, 1)])
def test_a_batch_holds_int32_arrays_of_static_shapes(packing, pairs):
    batch = Batches(DOCUMENTS, SPECIAL, replace(DATA, packing=packing), 4, seed=0)[0]
    assert {name: array.shape for name, array in batch.items()} == {
        "token_ids": (4, 64),
        "segment_ids": (4, 64),
        "pair_ids": (4, 64),
        "next_sentence_labels": (4, pairs),
    }
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("pairs", ["nsp", "sop", "none"])
@pytest.mark.usefixtures("small_windows")
def test_segments_are_runs_of_the_corpus(pairs, packing):
    data = replace(DATA, pairs=pairs, packing=packing)
    training = Batches(DOCUMENTS, SPECIAL, data, 8, seed=0)
    ends = np.cumsum(DOCUMENTS.token_counts) + FIRST_TOKEN
    labels = Counter()
    for step in range(40):
        for a, b, label in pairs_in(training[step]):
            labels[int(label)] += 1
            for segment in (a, b) if b else (a,):
                assert (np.diff(segment) == 1).all()
            if b and label == 0:
                assert a[-1] < b[0]
            if b:
                same = np.searchsorted(ends, a[0], "right") == np.searchsorted(ends, b[0], "right")
                assert same == (pairs == "sop" or label == 0)
    assert set(labels) == {"nsp": {0, 1}, "sop": {-1, 0, 1}, "none": {-1}}[pairs]


@pytest.mark.parametrize("batch_size", [8, 1024])
@pytest.mark.usefixtures("small_windows")
def test_any_number_of_hosts_gives_the_same_batches(batch_size):
    whole = Batches(DOCUMENTS, SPECIAL, DATA, batch_size, seed=3)
    for num_hosts in 2, 4:
        slots = np.split(np.arange(batch_size), num_hosts)
        hosts = [Batches(DOCUMENTS, SPECIAL, DATA, batch_size, 3, own) for own in slots]
        for step in 0, 1, 60:
            parts = [host[step] for host in hosts]
            joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            assert_same(joined, whole[step])


class Reading:
    """Documents that note which of them were read."""

    def __init__(self, documents):
        self.token_counts, self.read_so_far = documents.token_counts, set()
        self._documents = documents

    def read(self, numbers):
        self.read_so_far.update(numbers)
        return self._documents.read(numbers)


def test_hosts_read_documents_of_their_own(monkeypatch):
    monkeypatch.setattr(windows_module, "WINDOW_TOKENS", 4000)
    read = []
    for slots in np.arange(1024), np.arange(512), np.arange(512, 1024):
        documents = Reading(random_corpus(1000, seed=0))
        host = Batches(documents, SPECIAL, DATA, 1024, 3, slots)
        documents.read_so_far.clear()  # of finding out how many rows a window gives
        assert len(host[0]["token_ids"]) == len(slots)
        read.append(documents.read_so_far)
    borders = read[1] & read[2]  # a document at the border of two windows is read for both
    assert len(borders) < 0.1 * min(len(read[1]), len(read[2]))
    assert read[0] == read[1] | read[2]


@pytest.mark.usefixtures("small_windows")
def test_a_step_asked_for_at_once_is_the_one_reached_in_sequence():
    sequential = Batches(DOCUMENTS, SPECIAL, DATA, 8, seed=0)
    reached = [sequential[step] for step in range(120)]
    for step in 119, 3, 77:
        assert_same(Batches(DOCUMENTS, SPECIAL, DATA, 8, seed=0)[step], reached[step])
        assert_same(sequential[step], reached[step])


@pytest.mark.usefixtures("small_windows")
def test_from_the_middle_of_a_window_on_the_next_one_is_drawn_beside_the_training():
    documents = Reading(random_corpus(1000, seed=0))
    training = Batches(documents, SPECIAL, DATA, 8, seed=0)
    last = training.rows_per_window // 8 - 1  # the last step that reads the first window alone
    training[0]
    documents.read_so_far.clear()
    for step in range(last // 2 + 2):
        training[step]
    training._drawing.join()
    assert documents.read_so_far
    documents.read_so_far.clear()
    training[last + 2]
    assert not documents.read_so_far


def test_seeds_and_epochs_draw_other_pairs():
    training = Batches(DOCUMENTS, SPECIAL, DATA, 8, seed=0)
    epoch = training.windows * training.rows_per_window // 8 + 1
    other_seed = Batches(DOCUMENTS, SPECIAL, DATA, 8, seed=1)
    first = set(pairs_in(training[0]))
    assert not first & set(pairs_in(training[epoch]))
    assert not first & set(pairs_in(other_seed[0]))


def test_an_epoch_uses_nearly_all_of_the_corpus():
    training = Batches(DOCUMENTS, SPECIAL, replace(DATA, length=128), 8, seed=0)
    steps = training.windows * training.rows_per_window // 8
    used = {token for step in range(steps) for a, b, _ in pairs_in(training[step]) for token in a}
    used |= {token for step in range(steps) for _, b, _ in pairs_in(training[step]) for token in b}
    assert len(used) > 0.85 * DOCUMENTS.token_counts.sum()  # the rest is truncated away


@pytest.mark.usefixtures("small_windows")
def test_validation_holds_the_same_pairs_packed_and_unpacked():
    drawn = []
    for packing in True, False:
        data = replace(DATA, packing=packing)
        found = ValidationBatches(DOCUMENTS, SPECIAL, data, 8)
        drawn.append(Counter(pair for batch in found for pair in pairs_in(batch)))
    assert drawn[0] == drawn[1]
    assert drawn[0].total() > 100


@pytest.mark.usefixtures("small_windows")
def test_full_sentences_of_validation_hold_every_token_once():
    data = replace(DATA, pairs="none", length=512, short_sequence_probability=0.0)
    found = ValidationBatches(DOCUMENTS, SPECIAL, data, 8)
    tokens = [token for batch in found for a, _, _ in pairs_in(batch) for token in a]
    total = int(DOCUMENTS.token_counts.sum())
    assert sorted(tokens) == list(range(FIRST_TOKEN, FIRST_TOKEN + total))


def test_the_last_validation_batch_is_filled_up_with_empty_rows():
    found = ValidationBatches(DOCUMENTS, SPECIAL, DATA, 1000)
    assert len(found) == 1
    empty = (found[0]["pair_ids"] == 0).all(axis=1)
    assert empty.any()
    assert (np.diff(empty.astype(int)) >= 0).all()


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("batch_size", [5, 8, 20])
def test_validation_can_be_capped_at_rows_that_are_the_same_for_any_batch_size(batch_size):
    whole, capped = (
        np.concatenate([batch["token_ids"] for batch in batches])
        for batches in (
            ValidationBatches(DOCUMENTS, SPECIAL, DATA, 8),
            ValidationBatches(DOCUMENTS, SPECIAL, DATA, batch_size, max_rows=20),
        )
    )
    assert len(whole) > 24
    np.testing.assert_array_equal(capped[:20], whole[:20])
    assert (capped[20:] == SPECIAL.pad_id).all()


@pytest.mark.usefixtures("small_windows")
def test_validation_is_shared_by_hosts():
    whole = ValidationBatches(DOCUMENTS, SPECIAL, DATA, 8)
    host = ValidationBatches(DOCUMENTS, SPECIAL, DATA, 8, np.arange(4, 8))
    assert len(whole) == len(host)
    assert_same(host[2], {name: array[4:] for name, array in whole[2].items()})


def test_prefetching_starts_at_any_step():
    training = Batches(DOCUMENTS, SPECIAL, DATA, 8, seed=0)
    for step, batch in enumerate(islice(prefetch(training, 5), 20), start=5):
        assert_same(batch, training[step])


def test_prefetching_makes_no_batch_beyond_the_stop():
    class Numbers:
        rows = length = 8

        def __len__(self):
            return 1 << 40

        def __getitem__(self, step):
            asked.append(step)
            return {"step": np.array(step)}

    asked = []
    assert [batch["step"] for batch in prefetch(Numbers(), 5, 9)] == [5, 6, 7, 8]
    assert sorted(asked) == [5, 6, 7, 8]


def test_prefetching_ends_with_the_validation_batches():
    validation = ValidationBatches(DOCUMENTS, SPECIAL, DATA, 8)
    assert len(list(prefetch(validation))) == len(validation)


@pytest.mark.parametrize(
    "corpus",
    [
        [[5], [5]],
        [[1], [1]],
        [[3] * 5000, [2]],
        [[900], [700], [1]],
        [[70_000], [80_000]],
    ],
    ids=["one_sentence_each", "one_token_each", "long_and_short", "long_sentences", "large_ids"],
)
@pytest.mark.parametrize("pairs", ["nsp", "sop", "none"])
def test_tiny_and_lopsided_corpora_give_batches(corpus, pairs):
    data = replace(DATA, pairs=pairs)
    training = Batches(numbered_documents(corpus), SPECIAL, data, 4, seed=0)
    assert len(list(pairs_in(training[0]))) >= 4
    assert len(list(pairs_in(training[10_000]))) >= 4


def test_a_single_document_is_refused_for_next_sentence_pairs():
    with pytest.raises(UserError, match=r"data\.pairs=nsp needs at least 2"):
        Batches(numbered_documents([[5, 5]]), SPECIAL, DATA, 4, seed=0)
    assert Batches(numbered_documents([[5, 5]]), SPECIAL, replace(DATA, pairs="sop"), 4, seed=0)[0]


def test_importing_the_loader_loads_no_grain_and_no_array_record():
    program = (
        "import sys, bertjax.data.loader, bertjax.data.shards;"
        "sys.exit(bool({'grain', 'array_record', 'jax', 'orbax'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
