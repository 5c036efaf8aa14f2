"""A small model with weights far from their initial values, and the same pairs in two layouts."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from bertjax.config import ModelConfig
from bertjax.model import bert

# Neither the vocabulary nor any other size divides the next, so that no mix-up can cancel out.
CONFIG = ModelConfig(
    num_layers=2,
    hidden_size=36,
    num_heads=4,
    intermediate_size=80,
    vocab_size=211,
    max_length=40,
    dropout=0.1,
)
LENGTH = 40


@dataclasses.dataclass(frozen=True)
class Layouts:
    """Six sentence pairs, one to a row and three to a row, and where each stands when packed."""

    unpacked: dict[str, np.ndarray]
    packed: dict[str, np.ndarray]
    places: list[tuple[int, int, int]]  # of each pair: packed row, first position, length


def perturbed(params, scale=0.15, seed=0):
    """Every weight moved by noise much larger than its initial spread."""
    leaves, tree = jax.tree.flatten(params)
    random = np.random.default_rng(seed)
    moved = [leaf + scale * random.standard_normal(leaf.shape, np.float32) for leaf in leaves]
    return jax.tree.unflatten(tree, moved)


def layouts(seed=0):
    """Random pairs of random lengths, both padded and packed."""
    random = np.random.default_rng(seed)
    lengths = [(3, 5), (6, 2), (1, 9), (8, 6), (4, 4), (2, 1)]
    pairs = [[random.integers(5, CONFIG.vocab_size, n) for n in pair] for pair in lengths]
    packed, unpacked, places = empty(2, 3), empty(6, 1), []
    for number, (first, second) in enumerate(pairs):
        row, slot = divmod(number, 3)
        start = int((packed["pair_ids"][row] > 0).sum())
        place(packed, row, start, slot + 1, first, second, number % 2)
        place(unpacked, number, 0, 1, first, second, number % 2)
        places.append((row, start, len(first) + len(second) + 3))
    return Layouts(unpacked, packed, places)


def empty(rows, pairs):
    """A batch of padding."""
    names = ("token_ids", "segment_ids", "pair_ids")
    batch = {name: np.zeros((rows, LENGTH), np.int32) for name in names}
    labels = {"next_sentence_labels": np.full((rows, pairs), -1, np.int32)}
    return batch | labels | {"row_ids": np.arange(rows, dtype=np.int32)}


def place(batch, row, start, pair_id, first, second, label):
    """Writes `[CLS] first [SEP] second [SEP]` into a row."""
    ids = np.concatenate([[2], first, [3], second, [3]])
    here = slice(start, start + len(ids))
    batch["token_ids"][row, here] = ids
    batch["segment_ids"][row, here] = [0] * (len(first) + 2) + [1] * (len(second) + 1)
    batch["pair_ids"][row, here] = pair_id
    batch["next_sentence_labels"][row, pair_id - 1] = label


@pytest.fixture(scope="session")
def initial_params():
    init = jax.jit(functools.partial(bert.init_params, CONFIG))
    return jax.device_get(init(jax.random.key(0)))


@pytest.fixture(scope="session")
def params(initial_params):
    return perturbed(initial_params)


@pytest.fixture(scope="session")
def pairs():
    return layouts()
