"""Work over processes."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from bertjax.text.workers import map_unordered

SCRIPT = """
from tests.text.test_workers import make_adder
from bertjax.text.workers import map_unordered
print("script", sorted(map_unordered(make_adder, (10,), range(3), 2)))
"""


def make_adder(number: int) -> Callable[[int], int]:
    return lambda task: task + number


def test_one_worker_works_in_this_process_and_reads_tasks_as_it_needs_them():
    read = []

    def tasks() -> Iterator[int]:
        for task in range(5):
            read.append(task)
            yield task

    results = map_unordered(make_adder, (10,), tasks(), workers=1)
    assert next(results) == 10
    assert read == [0]
    assert list(results) == [11, 12, 13, 14]


@pytest.mark.process
def test_tasks_are_read_a_few_ahead_of_the_results():
    read = []

    def tasks() -> Iterator[int]:
        for task in range(30):
            read.append(task)
            yield task

    results = []
    for result in map_unordered(make_adder, (10,), tasks(), workers=2):
        results.append(result)
        assert len(read) - len(results) <= 4
    assert sorted(results) == list(range(10, 40))


@pytest.mark.process
@pytest.mark.parametrize("standard_input", [True, False])
def test_a_script_needs_no_main_guard(tmp_path, standard_input):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run = subprocess.run(
        [sys.executable, "-" if standard_input else str(script)],
        input=SCRIPT,
        env={"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == "script [10, 11, 12]\n", run.stderr
