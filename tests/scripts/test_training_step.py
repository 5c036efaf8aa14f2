import pytest

from scripts.benchmark.training_sides import Case, Side, made_up_batches
from scripts.benchmark.training_step import measure, ratio, spread, table, timed

TINY = Case("tiny", 1, 64, 128, 8, 32)  # rows for as many devices as a test may have


def test_a_ratio_is_the_median_of_the_rounds_own_with_the_extremes():
    ours, theirs = [1.0, 2.0, 1.0], [1.5, 4.0, 1.2]
    assert ratio(ours, theirs) == "1.50 (1.20-2.00)"


def test_the_spread_is_over_the_rounds():
    assert spread([3.0, 9.0, 2.0]) == (3.0, 2.0, 9.0)


def test_a_round_waits_once_for_all_of_its_steps():
    done = []
    timed(lambda: done.append("step"), lambda: done.append("wait"), 3)
    assert done == ["step", "step", "step", "wait"]


def test_fifteen_percent_of_the_positions_are_predicted_and_none_twice():
    for batch in made_up_batches(TINY):
        positions = batch["positions"]
        assert positions.shape == (8, 5)  # 15% of 32, rounded up
        assert all(len(set(row)) == 5 for row in positions.tolist())


@pytest.mark.slow
def test_both_sides_take_their_turns_and_stand_in_the_table():
    pytest.importorskip("torch")
    result = measure(TINY, [Side("bertjax"), Side("eager")], rounds=2, round_seconds=0.0)
    for side in result["sides"]:
        assert len(side["seconds"]) == 2
    rows = table([result]).splitlines()
    assert rows[0].endswith(result["date"])
    assert rows[-2].startswith("| tiny, batch 8 | bertjax |")
    assert rows[-1].startswith("| tiny, batch 8 | Hugging Face, PyTorch eager |")
