"""The recipes of configs/ amount to what was published, and fit the machine that they name."""

import re
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from bertjax.config import load_config, phases, total_steps, validate
from bertjax.train.mesh import validate_mesh
from bertjax.train.optimizer import learning_rate
from bertjax.train.plan import plan

FOLDER = Path(__file__).parent.parent / "configs"
CONFIGS = sorted(file.stem for file in FOLDER.glob("*.py"))


class Published(NamedTuple):
    """What a recipe's source says, rounded as there."""

    parameters: float
    steps: int
    sequences: float
    tokens: float
    arxiv: str
    devices: int  # of the slice that our docstring names


# Devlin et al. 2018, section 3 and appendix A.2; You et al. 2020, abstract and section 4.1; Izsak
# et al. 2021 by way of Wettig et al. 2023; Portes et al. 2023, mosaic-bert-base-uncased.yaml
# (its 286.72 million samples are of 128 tokens).
RECIPES = {
    "base_two_phase": Published(110e6, 1_000_000, 256e6, 42.6e9, "1810.04805", 16),
    "large_two_phase": Published(340e6, 1_000_000, 256e6, 42.6e9, "1810.04805", 64),
    "lamb_76_minutes": Published(340e6, 8_599, 512e6, 85.2e9, "1904.00962", 256),
    "budget_24_hours": Published(340e6, 23_000, 23_000 * 4096, 12.06e9, "2104.07705", 8),
    "modern": Published(110e6, 70_000, 286.72e6 / 4, 286.72e6 * 128, "2312.17482", 16),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_plan_answers_for_every_config_within_two_seconds(name):
    started = time.process_time()
    figures = plan(load_config(name))
    assert time.process_time() - started < 2
    assert figures["parameters"] > 0
    assert figures["steps"] == total_steps(load_config(name))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_published_size_and_length(name):
    published, config = RECIPES[name], load_config(name)
    figures = plan(config)
    sequences = sum(phase.steps * phase.batch_size for phase in phases(config))
    assert figures["parameters"] == pytest.approx(published.parameters, rel=0.015)
    assert figures["steps"] == pytest.approx(published.steps, abs=2)
    assert sequences == pytest.approx(published.sequences, rel=0.002)
    assert figures["positions"] == pytest.approx(published.tokens, rel=0.002)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_tells_its_source_its_slice_and_what_differs(name):
    text = " ".join((FOLDER / f"{name}.py").read_text().split())
    assert RECIPES[name].arxiv in text
    (rows, columns) = re.findall(r"Here: TPU v\w+, (\d+)x(\d+)", text)[0]
    assert int(rows) * int(columns) == RECIPES[name].devices
    assert "differs from" in text


@pytest.mark.parametrize("name", RECIPES)
def test_the_batches_of_a_recipe_divide_over_its_slice(name):
    config = load_config(name)
    validate(config)
    validate_mesh(config, RECIPES[name].devices, "tpu")


def test_nine_tenths_of_the_two_phases_are_short():
    for name in ("base_two_phase", "large_two_phase"):
        first, second = phases(load_config(name))
        assert (first.length, second.length) == (128, 512)
        assert first.steps == 9 * second.steps


def test_the_second_stage_of_lamb_warms_up_anew():
    config = load_config("lamb_76_minutes")
    rate = learning_rate(config)
    assert rate(7_037) < 1e-5
    assert rate(7_038) == 0
    assert rate(8_600) < 1e-5
    assert [phase.warmup_steps / phase.steps for phase in phases(config)] == pytest.approx(
        [0.2843, 0.128], rel=1e-3
    )


@pytest.mark.parametrize("step", [2_000, 4_000, 7_000])
def test_the_rate_of_lamb_is_the_papers_after_the_warmup(step):
    """You et al. 2020, section 4: the rate times 1 - t / T."""
    rate = learning_rate(load_config("lamb_76_minutes"))
    assert rate(step) == pytest.approx(6e-3 * (1 - step / 7_038), rel=1e-5)
    second = step // 5  # from 400 to 1,400
    assert rate(7_038 + second) == pytest.approx(4e-3 * (1 - second / 1_563), rel=1e-5)


def test_the_modern_recipe_keeps_its_rate_until_the_last_tenth():
    rate = learning_rate(load_config("modern"))
    assert float(rate(4_200)) == float(rate(63_000)) == pytest.approx(5e-4)
    assert rate(66_500) == pytest.approx(2.5e-4)
