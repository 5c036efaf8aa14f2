import json

import numpy as np
import pytest
from etils import epath
from hypothesis import given
from hypothesis import strategies as st

from bertjax.train import events
from bertjax.train.metrics import Meter, MetricsLog


def read_lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def write_steps(run, steps, last_step=0):
    log = MetricsLog(epath.Path(run), last_step)
    for step in steps:
        log.write(step, {"loss": 1.0 / step, "mfu": None})
    log.close()


def event_scalars(run, tag):
    """(step, value) as TensorBoard itself reads them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    reader = accumulator.EventAccumulator(str(run), size_guidance={"scalars": 0})
    reader.Reload()
    return [(event.step, event.value) for event in reader.Scalars(tag)]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_reads_back_exactly(tmp_path_factory, value):
    run = tmp_path_factory.mktemp("run")
    log = MetricsLog(epath.Path(run), 0)
    log.write(1, {"loss": np.float32(value).item()})
    log.close()
    assert np.float32(read_lines(run)[0]["loss"]) == np.float32(value)


def test_what_is_not_finite_is_null(tmp_path):
    log = MetricsLog(epath.Path(tmp_path), 0)
    log.write(1, {"loss": float("nan"), "gradient_norm": float("inf")})
    log.close()
    assert read_lines(tmp_path) == [{"step": 1, "loss": None, "gradient_norm": None}]


def test_a_resumed_run_forgets_lines_and_events_beyond_its_checkpoint(tmp_path):
    write_steps(tmp_path, [1, 2, 3, 4, 200])
    write_steps(tmp_path, [3, 4], last_step=2)
    assert [line["step"] for line in read_lines(tmp_path)] == [1, 2, 3, 4]
    steps = [step for step, _ in events.records((tmp_path / events.EVENTS_FILE).read_bytes())]
    assert steps == [0, 1, 2, 3, 4]


def test_a_line_and_an_event_cut_short_by_a_kill_are_dropped(tmp_path):
    write_steps(tmp_path, [1, 2, 3])
    for name in ("metrics.jsonl", events.EVENTS_FILE):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:-5])
    write_steps(tmp_path, [3], last_step=3)
    assert [line["step"] for line in read_lines(tmp_path)] == [1, 2, 3]
    steps = [step for step, _ in events.records((tmp_path / events.EVENTS_FILE).read_bytes())]
    assert steps == [0, 1, 2, 3]


@pytest.mark.parametrize("damage", [b"\0\0\0\n", b'{"loss": 1}\n', b"3\n", b'{"step": null}\n'])
def test_lines_from_a_damaged_one_on_are_dropped(tmp_path, damage):
    write_steps(tmp_path, [1, 2, 3])
    file = tmp_path / "metrics.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + damage + lines[2])
    write_steps(tmp_path, [4], last_step=3)
    assert [line["step"] for line in read_lines(tmp_path)] == [1, 4]


def test_tensorboard_reads_every_step_once_after_a_resume(tmp_path):
    write_steps(tmp_path, range(1, 300))
    write_steps(tmp_path, range(150, 300), last_step=149)
    assert event_scalars(tmp_path, "loss") == [
        (step, float(np.float32(1.0 / step))) for step in range(1, 300)
    ]


def test_validation_figures_have_a_group_of_their_own_in_tensorboard(tmp_path):
    log = MetricsLog(epath.Path(tmp_path), 0)
    log.write(7, {"validation_mlm_loss": 2.5})
    log.close()
    assert event_scalars(tmp_path, "validation/mlm_loss") == [(7, 2.5)]


def test_the_meter_gives_shares_of_what_it_counted():
    meter = Meter(peak_flops=1e15)
    meter.add(tokens=300, positions=400, flops=1e6, waited=0.0)
    meter.add(tokens=90, positions=400, flops=1e6, waited=0.0)
    figures = meter.read()
    assert figures["padding_share"] == pytest.approx(1 - 390 / 800)
    assert figures["tokens_per_second"] / figures["mfu"] == pytest.approx(390 / 2e6 * 1e15)
    assert set(meter.read().values()) == {None}


def test_without_a_count_of_its_arithmetic_a_run_has_no_mfu():
    meter = Meter(peak_flops=1e15)
    meter.add(tokens=300, positions=400, flops=0, waited=0.0)
    assert meter.read()["mfu"] is None


def test_time_left_out_does_not_slow_the_meter():
    meter = Meter(peak_flops=None)
    meter.add(tokens=10, positions=10, flops=0, waited=0.0)
    meter.leave_out(-100.0)
    assert meter.read()["tokens_per_second"] == pytest.approx(0.1, rel=0.1)
