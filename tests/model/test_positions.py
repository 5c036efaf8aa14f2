"""Positions in packed rows."""

import jax.numpy as jnp
import numpy as np

from bertjax.model.positions import classifier_positions, gather_positions, position_ids

PAIR_IDS = jnp.array([[1, 1, 1, 2, 2, 3, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0]])


def test_positions_begin_anew_in_every_pair():
    expected = [[0, 1, 2, 0, 1, 0, 0, 1], [0, 1, 0, 1, 2, 3, 4, 5]]
    np.testing.assert_array_equal(position_ids(PAIR_IDS), expected)


def test_a_classifier_stands_where_its_pair_begins_and_at_0_where_the_pair_is_absent():
    np.testing.assert_array_equal(classifier_positions(PAIR_IDS, 4), [[0, 3, 5, 0], [0, 0, 0, 0]])


def test_gathering_takes_each_rows_own_positions():
    hidden = np.arange(2 * 8 * 3).reshape(2, 8, 3)
    found = gather_positions(jnp.asarray(hidden), jnp.array([[7, 0], [2, 2]]))
    np.testing.assert_array_equal(found, [hidden[0, [7, 0]], hidden[1, [2, 2]]])
