"""The sample that a tokenizer is trained on."""

import random

import pytest

from bertjax.text.duplicates import document_hash
from bertjax.text.scan import Sample

MAX_BYTES = 2000


def sample_of(documents):
    sample = Sample(MAX_BYTES)
    for lines in documents:
        sample.add(document_hash(lines), len(lines[0]), lines)
    return sample


@pytest.fixture(params=range(5))
def documents(request):
    rng = random.Random(request.param)
    return [["x" * rng.randint(1, 300) + str(number)] for number in range(60)]


def test_the_sample_holds_the_smallest_hashes_up_to_the_first_that_does_not_fit(documents):
    expected, size = [], 0
    for lines in sorted(documents, key=document_hash):
        size += len(lines[0])
        if size > MAX_BYTES:
            break
        expected.append(lines)
    assert 3 < len(expected) < 50
    assert [lines for _, _, lines in sample_of(documents).documents()] == expected


def test_the_order_of_the_documents_makes_no_difference(documents):
    backwards = sample_of(documents[::-1] + documents[:10])
    assert list(backwards.documents()) == list(sample_of(documents).documents())


@pytest.mark.parametrize("parts", [2, 3, 20])
def test_samples_of_parts_merge_to_the_sample_of_the_whole(documents, parts):
    merged = Sample(MAX_BYTES)
    for part in range(parts):
        merged.merge(sample_of(documents[part::parts]))
    assert list(merged.documents()) == list(sample_of(documents).documents())
