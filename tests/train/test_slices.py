"""Devices that need not be attached, by name."""

import importlib.util

import jax
import pytest

from bertjax.errors import UserError
from bertjax.train.slices import find_slice


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        ("v9:2x2", "no such kind of chip; there are v4:..., v5e:"),
        ("cpu", "write cpu:N"),
        ("cpu:none", "write cpu:N"),
        ("cpu:99999999999", "write cpu:N, with 1 to 9999 devices"),
        ("cpu:99", "this machine has 8 such devices"),
        ("gpu:4", "this machine has 0 such devices"),
    ],
)
def test_a_slice_that_cannot_be_is_refused_in_one_line(topology, message):
    assert len(jax.devices()) == 8  # from now on there are no others
    with pytest.raises(UserError, match="--topology") as refused:
        find_slice(topology)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_the_tpu_compiler_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[aot\]'"):
        find_slice("v5e:2x4")


def test_devices_of_the_cpu_are_a_slice():
    found = find_slice("cpu:4")
    assert (found.platform, len(found.devices), found.chips) == ("cpu", 4, 4)
