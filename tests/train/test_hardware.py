import jax
import pytest

from bertjax.train.hardware import peak_flops


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("TPU7x", 1153.5e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
    ],
)
def test_the_longest_name_that_fits_a_device_gives_its_peak(kind, peak):
    assert peak_flops(kind) == peak


def test_a_cpu_has_no_peak():
    assert peak_flops(jax.devices("cpu")[0].device_kind) is None
