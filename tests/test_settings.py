"""What follows from the settings: phases and steps."""

import pytest

from bertjax.setting_checks import validate
from bertjax.settings import (
    Config,
    ModelConfig,
    Phase,
    TrainConfig,
    largest_phase,
    phases,
    total_steps,
    with_steps,
)

TWO_PHASES = Config(
    train=TrainConfig(phases=(Phase(900, 128, 32, 1e-3, 100), Phase(100, 512, 8, 5e-4, 0)))
)


def test_a_single_phase_comes_from_the_plain_fields():
    config = Config(train=TrainConfig(steps=7, batch_size=4))
    assert phases(config) == (Phase(7, 128, 4, 1e-4, 10_000),)


@pytest.mark.parametrize(
    ("shapes", "largest"),
    [
        ([(128, 32), (512, 8)], 1),  # as many positions, longer rows
        ([(512, 8), (128, 32)], 0),
        ([(128, 64), (512, 8)], 0),
        ([(16, 8), (128, 8), (64, 8)], 1),
    ],
)
def test_the_largest_phase_has_the_most_positions_or_of_equals_the_longest_rows(shapes, largest):
    parts = [Phase(9, length, rows, 1e-3, 0) for length, rows in shapes]
    assert largest_phase(Config(train=TrainConfig(phases=tuple(parts)))) is parts[largest]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1000, [900, 100]), (1500, [900, 600]), (901, [900, 1]), (900, [900]), (50, [50])],
)
def test_a_run_that_goes_on_to_other_steps_changes_its_last_phase_alone(steps, expected):
    config = with_steps(TWO_PHASES, steps)
    assert [phase.steps for phase in config.train.phases] == expected
    assert phases(config) == config.train.phases
    assert total_steps(config) == steps
    validate(config)


def test_a_run_without_phases_goes_on_without_them():
    config = Config(train=TrainConfig(steps=7))
    assert with_steps(config, 9) == Config(train=TrainConfig(steps=9))


def test_the_vocabulary_size_is_left_to_the_data_unless_given():
    assert ModelConfig().vocab_size is None


@pytest.mark.parametrize("steps", [3, 7, 500])
def test_no_phase_of_a_shortened_run_warms_up_for_longer_than_it_has_steps(steps):
    parts = (Phase(10, 128, 8, 1e-3, 10), Phase(10, 128, 8, 1e-3, 10))
    shortened = phases(Config(train=TrainConfig(steps=steps, phases=parts)))
    assert sum(phase.steps for phase in shortened) == steps
    assert all(phase.warmup_steps <= phase.steps for phase in shortened)
