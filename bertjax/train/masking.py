"""Which tokens are predicted and what the model sees in their place; runs inside the jitted step.

Everything has a static shape and is keyed by (key, row id): a row's masks are the same however the
batch is cut. Special tokens and padding are never chosen, and never put in.
"""

import dataclasses
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.model.dropout import random_bits

Unit = Literal["token", "whole_word", "span"]

_SPAN_PROBABILITY = 0.2  # SpanBERT (Joshi et al. 2019), section 3.1: lengths ~ Geo(0.2), at most 10
_LONGEST_SPAN = 10
_ORDER, _LENGTH, _ACTION, _TOKEN = range(4)  # the four draws at each position


@dataclasses.dataclass(frozen=True, eq=False)
class MaskingTable:
    """What masking knows of the vocabulary.

    Attributes:
        continues_word: bool [vocab], True for a piece that goes on with the word before it.
        special: bool [vocab], True for ids that are never predicted nor put in.
        mask_id: the id of the mask token.
        random_ids: int32 [eligible], the ids that may be put in at random: those not special.
    """

    continues_word: np.ndarray
    special: np.ndarray
    mask_id: int
    random_ids: np.ndarray


class Masked(NamedTuple):
    """A batch with some tokens hidden, and what is to be predicted where."""

    token_ids: jax.Array  # int32 [batch, length]
    positions: jax.Array  # int32 [batch, predictions], ascending; 0 for the surplus
    labels: jax.Array  # int32 [batch, predictions], the original ids; 0 for the surplus
    weights: jax.Array  # float32 [batch, predictions], 1 for a prediction, 0 for the surplus


class _Words(NamedTuple):
    """The words of each row, all arrays [batch, length]."""

    maskable: jax.Array  # bool
    starts: jax.Array  # bool, a maskable piece that begins a word
    start: jax.Array  # int32, where the word of this position starts
    number: jax.Array  # int32, the word's number in its row, ascending
    run: jax.Array  # int32, equal for positions with nothing unmaskable between them


def masking_table(
    continues_word: np.ndarray, special_ids: tuple[int, ...], mask_id: int
) -> MaskingTable:
    """The table of a tokenizer's `continues_word`, `special_ids` and `mask_id`."""
    special = np.zeros(len(continues_word), bool)
    special[list(special_ids)] = True
    return MaskingTable(continues_word, special, mask_id, np.flatnonzero(~special).astype(np.int32))


def prediction_count(length: int, rate: float) -> int:
    """Predictions per row: the static size that holds every row's share."""
    return max(1, math.ceil(length * rate))


def mask_tokens(
    key: jax.Array,
    batch: dict[str, jax.Array],
    table: MaskingTable,
    rate: float,
    unit: Unit,
    predictions: int,
) -> Masked:
    """Chooses positions and hides them: 80% mask token, 10% random token, 10% left as they are.

    A row of n real tokens (special ones counted) has max(1, round(rate * n)) of them chosen, as in
    create_pretraining_data.py of google-research/bert; a random token may happen to be the
    original, as there. With "whole_word" words are taken whole and in random order, one that would
    exceed the row's budget is skipped (the same file). With "span", spans of whole words are taken
    until the budget is spent, the last one cut, and 80/10/10 is decided once for each span
    (SpanBERT, Joshi et al. 2019, section 3.1 and its `span` masking scheme).

    Args:
        key: a JAX key, new every step.
        batch: `token_ids` and `pair_ids` int32 [batch, length], `row_ids` int32 [batch].
        table: of the tokenizer.
        rate: the share of tokens to choose.
        unit: what is chosen whole.
        predictions: at most this many per row, from `prediction_count`.
    """
    token_ids = batch["token_ids"]
    length = token_ids.shape[1]
    draws = [random_bits(key, site, batch["row_ids"], (length,)) for site in range(4)]
    words = _words(token_ids, batch["pair_ids"], table)
    budget = _budget(batch["pair_ids"], words.maskable, rate, predictions)
    if unit == "span":
        anchors = _choose_spans(draws[_ORDER], draws[_LENGTH], words, budget, predictions)
        chosen = anchors >= 0
        draws[_ACTION] = jnp.take_along_axis(draws[_ACTION], jnp.maximum(anchors, 0), axis=1)
    elif unit == "whole_word":
        chosen = _choose_words(draws[_ORDER], words, budget)
    else:
        chosen = _choose_tokens(draws[_ORDER], words.maskable, budget)
    shown = jnp.where(chosen, _hide(token_ids, draws[_ACTION], draws[_TOKEN], table), token_ids)
    return Masked(shown, *_targets(token_ids, chosen, predictions))


def _hide(
    token_ids: jax.Array, action: jax.Array, token: jax.Array, table: MaskingTable
) -> jax.Array:
    """What the model sees at each position if that is chosen."""
    eligible = np.uint32(len(table.random_ids))
    random_tokens = jnp.asarray(table.random_ids)[(token % eligible).astype(jnp.int32)]
    shown = jnp.where(action < _share(0.9), random_tokens, token_ids)
    return jnp.where(action < _share(0.8), table.mask_id, shown)


def _targets(
    token_ids: jax.Array, chosen: jax.Array, predictions: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Positions, labels and weights [batch, predictions] of the chosen positions."""
    length = token_ids.shape[1]
    index = jnp.where(chosen, jnp.arange(length, dtype=jnp.int32), length)
    positions = jnp.sort(index, axis=1)[:, :predictions]
    real = positions < length
    positions = jnp.where(real, positions, 0)
    labels = jnp.where(real, jnp.take_along_axis(token_ids, positions, axis=1), 0)
    return positions, labels, real.astype(jnp.float32)


def _share(probability: float) -> np.uint32:
    """The bound that uniform uint32 bits stay below with this probability."""
    return np.uint32(round(probability * 2**32))


def _words(token_ids: jax.Array, pair_ids: jax.Array, table: MaskingTable) -> _Words:
    """A piece continues the word before it only where that is maskable too."""
    maskable = (pair_ids > 0) & ~jnp.asarray(table.special)[token_ids]
    after_maskable = jnp.pad(maskable[:, :-1], ((0, 0), (1, 0)))
    starts = maskable & ~(jnp.asarray(table.continues_word)[token_ids] & after_maskable)
    index = jnp.arange(token_ids.shape[1], dtype=jnp.int32)
    return _Words(
        maskable,
        starts,
        jax.lax.cummax(jnp.where(starts, index, 0), axis=1),
        jnp.cumsum(starts, axis=1, dtype=jnp.int32),
        jnp.cumsum(~maskable, axis=1, dtype=jnp.int32),
    )


def _budget(pair_ids: jax.Array, maskable: jax.Array, rate: float, predictions: int) -> jax.Array:
    """int32 [batch]: how many tokens of each row are to be chosen; 0 for an empty row."""
    real = jnp.sum(pair_ids > 0, axis=1)
    wanted = jnp.clip(jnp.round(real * rate).astype(jnp.int32), 1, predictions)
    return jnp.minimum(wanted, jnp.sum(maskable, axis=1, dtype=jnp.int32))


def _order(bits: jax.Array, among: jax.Array) -> jax.Array:
    """Random uint32 keys, distinct within a row (the low bits are the index); others come last."""
    length = bits.shape[1]
    low = np.uint32((1 << length.bit_length()) - 1)
    keys = (bits & ~low) | jnp.arange(length, dtype=jnp.uint32)
    return jnp.where(among, keys, np.uint32(2**32 - 1))


def _choose_tokens(bits: jax.Array, maskable: jax.Array, budget: jax.Array) -> jax.Array:
    """bool [batch, length]: the `budget` maskable positions whose keys come first."""
    keys = _order(bits, maskable)
    last = jnp.take_along_axis(jnp.sort(keys, axis=1), jnp.maximum(budget - 1, 0)[:, None], axis=1)
    return maskable & (keys <= last) & (budget > 0)[:, None]


def _choose_words(bits: jax.Array, words: _Words, budget: jax.Array) -> jax.Array:
    """bool [batch, length]: whole words in random order, each taken where it still fits."""
    length = bits.shape[1]
    rows = jnp.arange(bits.shape[0])[:, None]
    sizes = jnp.zeros(bits.shape, jnp.int32).at[rows, words.start].add(words.maskable)
    order = jnp.argsort(_order(bits, words.starts), axis=1)
    sizes = jnp.take_along_axis(jnp.where(words.starts, sizes, length), order, axis=1)

    def take(left: jax.Array, size: jax.Array) -> tuple[jax.Array, jax.Array]:
        fits = size <= left
        return left - jnp.where(fits, size, 0), fits

    _, taken = jax.lax.scan(take, budget, sizes.T)
    by_start = jnp.zeros(bits.shape, bool).at[rows, order].set(taken.T)
    return jnp.take_along_axis(by_start, words.start, axis=1) & words.maskable


def _choose_spans(
    order_bits: jax.Array, length_bits: jax.Array, words: _Words, budget: jax.Array, most: int
) -> jax.Array:
    """int32 [batch, length]: the anchor of the span that each position belongs to, or -1.

    A span starts at the word of a random maskable position not yet chosen (the anchor), goes on
    for a geometric number of words, and stops before anything unmaskable. Each round takes at
    least one token, so `most` rounds always spend the budget.
    """
    keys = _order(order_bits, words.maskable)
    span_lengths = _span_lengths(length_bits)

    def add_span(_: int, anchors: jax.Array) -> jax.Array:
        """One more span in every row, cut where the row's budget ends."""
        free = words.maskable & (anchors < 0)
        anchor = jnp.argmin(jnp.where(free, keys, np.uint32(2**32 - 1)), axis=1)[:, None]
        at = lambda array: jnp.take_along_axis(array, anchor, axis=1)  # noqa: E731
        beyond = words.number - at(words.number)
        inside = (beyond >= 0) & (beyond < at(span_lengths)) & (words.run == at(words.run))
        new = inside & free
        left = budget[:, None] - jnp.sum(anchors >= 0, axis=1, keepdims=True)
        new &= jnp.cumsum(new, axis=1) <= left
        return jnp.where(new, anchor, anchors)

    start = jnp.full(order_bits.shape, -1, jnp.int32)
    return jax.lax.fori_loop(0, most, add_span, start)


def _span_lengths(bits: jax.Array) -> jax.Array:
    """int32 words per span: geometric, the tail beyond the longest drawn again (mean 3.8)."""
    lengths = np.arange(1, _LONGEST_SPAN)
    tail = 1 - (1 - _SPAN_PROBABILITY) ** _LONGEST_SPAN
    bounds = (1 - (1 - _SPAN_PROBABILITY) ** lengths) / tail
    bounds = np.array([_share(bound) for bound in bounds], np.uint32)
    return 1 + jnp.sum(bits[..., None] >= bounds, axis=-1, dtype=jnp.int32)
