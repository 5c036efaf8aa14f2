"""A second reading of conlleval's published rules: one pass over tokens, chunk by chunk.

As the Perl script of CoNLL-2000 and CoNLL-2003 works: it never collects entities, it follows the
gold and the guessed chunk side by side and counts one as right if both end together after having
begun together with one type.
"""

from collections import Counter


def conlleval(sentences):
    """(right, predicted, gold) Counters by type; `sentences` are pairs of label sequences."""
    right, predicted, gold = Counter(), Counter(), Counter()
    before = ("O", "O")
    agrees = False
    for pair in tokens_with_boundaries(sentences):
        ends = [ends_chunk(*both) for both in zip(before, pair, strict=True)]
        starts = [starts_chunk(*both) for both in zip(before, pair, strict=True)]
        if agrees and any(ends):
            right[kind(before[0])] += all(ends)
            agrees = False
        if agrees and kind(pair[0]) != kind(pair[1]):
            agrees = False
        if all(starts) and kind(pair[0]) == kind(pair[1]):
            agrees = True
        gold[kind(pair[0])] += starts[0]
        predicted[kind(pair[1])] += starts[1]
        before = pair
    return +right, +predicted, +gold


def tokens_with_boundaries(sentences):
    for pair in sentences:
        yield from zip(*pair, strict=True)
        yield "O", "O"


def kind(label):
    return label[2:]


def ends_chunk(previous, label):
    if previous == "O":
        return False
    return label == "O" or label.startswith("B-") or kind(previous) != kind(label)


def starts_chunk(previous, label):
    if label == "O":
        return False
    return label.startswith("B-") or previous == "O" or kind(previous) != kind(label)
