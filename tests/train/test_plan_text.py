"""What `plan --topology` tells people."""

from bertjax.train.plan_text import plan_text

FIGURES = {
    "topology": "v5e:2x4", "chips": 8, "devices": 8, "mesh": {"data": 8, "fsdp": 1, "tensor": 1},
    "length": 512, "rows_per_chip": 16.0, "parameters": 110_106_428, "model_flops": 7.709e13,
    "total_model_flops": 2.0e19, "peak_flops": 8 * 197e12, "memory_per_chip": 3 << 30,
    "chip_memory": 16 << 30, "memory": {"parameters": 420 << 20}, "fits": True,
    "estimated_seconds": 0.0358, "not_estimated": {"Pallas kernel": 22}, "warnings": ["a warning"],
    "collectives": [
        {"kind": "all-gather", "bytes": 1 << 30, "count": 4, "source": "update_weights"}
    ],
    "compile_seconds": 300.0,
}  # fmt: skip


def test_memory_time_and_communication_have_a_line_each():
    lines = plan_text(FIGURES).splitlines()
    assert lines[0].startswith("v5e:2x4: 8 chips, 8 devices, mesh data 8 x fsdp 1 x tensor 1, 16 ")
    assert "memory per chip: 3.00 GiB of 16.00 GiB, fits" in lines
    assert "    parameters         420.0 MiB" in lines
    assert any(line.startswith("computing: at least 35.8 ms") for line in lines)
    assert "    not in it: 22 Pallas kernel; waiting for memory" in lines
    assert "    all-gather          1.00 GiB in   4  update_weights" in lines
    assert "warning: a warning" in lines


def test_the_whole_run_is_told_in_hours_where_the_peak_is_known():
    whole = "the whole run: 2.000e+19 FLOPs, 3.5 hours at the chips' peak, 8.8 at an MFU of 40%"
    assert whole in plan_text(FIGURES).splitlines()
    assert "hours" not in plan_text(FIGURES | {"peak_flops": None})


def test_what_does_not_fit_and_what_nothing_estimates_is_said():
    text = plan_text(
        FIGURES | {"fits": False, "estimated_seconds": None, "collectives": [], "warnings": []}
    )
    assert "DOES NOT FIT" in text
    assert "the compiler estimates no time here" in text
    assert "    nothing" in text.splitlines()
