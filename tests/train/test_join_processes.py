"""What the environment must say of a run on several hosts."""

import pytest

from bertjax.errors import UserError
from bertjax.train.processes import join_processes


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({}, "JAX_NUM_PROCESSES"),
        ({"JAX_NUM_PROCESSES": "2"}, "JAX_PROCESS_ID"),
        ({"JAX_NUM_PROCESSES": "two", "JAX_PROCESS_ID": "0"}, "JAX_NUM_PROCESSES"),
    ],
)
def test_an_address_without_numbers_is_refused_by_name(monkeypatch, environment, missing):
    for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "127.0.0.1:1234")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{missing} must be a number"):
        join_processes()
