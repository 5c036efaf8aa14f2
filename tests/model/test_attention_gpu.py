"""The GPU attention kernel as far as it goes without a GPU: it lowers, and the model chooses it.

What it computes is compared on a Hopper GPU: `scripts/benchmark/attention_parity.py --device gpu`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AbstractDevice, AbstractMesh, NamedSharding, PartitionSpec

from bertjax.config import ModelConfig
from bertjax.errors import UserError
from bertjax.model.attention import SelfAttention, _device, attend, attention_path
from bertjax.model.dropout import Dropout
from bertjax.model.layers import Keys

HAS_KERNEL = jax.__version_info__ >= (0, 11)
BATCH, HEADS = 2, 4


def on(kind, platform="gpu", **axes):
    """A whole copy on each of some devices that are not attached."""
    device = AbstractDevice(device_kind=kind, num_cores=None, platform=platform)
    axes = axes or {"data": 1}
    mesh = AbstractMesh(tuple(axes.values()), tuple(axes), abstract_device=device)
    return NamedSharding(mesh, PartitionSpec())


def kernel_program(length, head_dim, rate):
    """StableHLO of the kernel and its gradient, for CUDA."""
    from bertjax.model.attention_gpu import fused_attention

    lanes = HEADS * head_dim
    attention = functools.partial(fused_attention, head_dim=head_dim, rate=rate)

    def gradient(projections, by_attended, *others):
        run = lambda projections: attention(projections, *others)  # noqa: E731
        return jax.vjp(run, projections)[1](by_attended)

    shape = jax.ShapeDtypeStruct
    arrays = [
        shape((BATCH, length, 3 * lanes), jnp.bfloat16),
        shape((BATCH, length, lanes), jnp.bfloat16),
        shape((BATCH, length), jnp.int32),
    ]
    if rate:
        arrays += [shape((BATCH, HEADS, length), jnp.uint32), shape((BATCH, length), jnp.uint32)]
    return jax.jit(gradient).trace(*arrays).lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.skipif(not HAS_KERNEL, reason="the kernel is for jax 0.11 and newer")
@pytest.mark.parametrize(
    ("length", "head_dim", "rate"), [(128, 64, 0.1), (200, 64, 0.0), (384, 128, 0.1)]
)
def test_forward_and_backward_are_a_kernel_each(length, head_dim, rate):
    program = kernel_program(length, head_dim, rate)
    assert program.count("stablehlo.custom_call @mosaic_gpu") == 2
    assert f"{length}x{length}x" not in program  # no scores in memory


@pytest.mark.parametrize(
    ("length", "path"), [(64, "plain"), (128, "fused"), (1024, "fused"), (2048, "plain")]
)
def test_a_hopper_gpu_takes_the_kernel_from_128_to_1024_positions(length, path):
    assert attention_path("auto", "hopper", length, lanes=768, head_dim=64) == path


def test_other_gpus_take_the_plain_path_and_refuse_the_kernel():
    assert attention_path("auto", "gpu", 512, lanes=768, head_dim=64) == "plain"
    with pytest.raises(UserError, match="a Hopper one"):
        attention_path("fused", "gpu", 512, lanes=768, head_dim=64)


@pytest.mark.parametrize(
    ("where", "dtype", "head_dim", "device"),
    [
        (on("NVIDIA H200"), "bfloat16", 64, "hopper" if HAS_KERNEL else "gpu"),
        (on("NVIDIA H100 80GB HBM3"), "bfloat16", 128, "hopper" if HAS_KERNEL else "gpu"),
        (on("NVIDIA A100-SXM4-80GB"), "bfloat16", 64, "gpu"),
        (on("NVIDIA H200"), "float32", 64, "gpu"),
        (on("NVIDIA H200"), "bfloat16", 32, "gpu"),
        (on("NVIDIA H200", data=4, tensor=2), "bfloat16", 64, "gpu"),
        (on("TPU v5 lite", "tpu"), "bfloat16", 64, "tpu"),
    ],
    ids=["H200", "H100", "A100", "float32", "heads of 32", "tensor parallel", "TPU"],
)
def test_the_kernel_is_for_hopper_bfloat16_and_whole_heads(where, dtype, head_dim, device):
    found = []

    def program(array):
        found.append(_device(array, jnp.dtype(dtype), head_dim))
        return array

    jax.eval_shape(program, jax.ShapeDtypeStruct((8,), jnp.float32, sharding=where))
    assert found == [device]


def test_one_product_gives_the_queries_keys_and_values_of_three():
    config = ModelConfig(hidden_size=64, num_heads=4)
    with nnx.use_eager_sharding(False):
        layer = SelfAttention(config, jnp.dtype(jnp.float32), Keys(jax.random.key(0)))
    hidden = jax.random.normal(jax.random.key(1), (2, 8, 64))
    parts = [part(hidden) for part in (layer.query, layer.key, layer.value)]
    assert jnp.abs(layer._project(hidden) - jnp.concatenate(parts, axis=-1)).max() < 1e-5


def attended(query, key, value):
    pair_ids = jnp.ones(query.shape[:2], jnp.int32)
    return attend(query, key, value, pair_ids, Dropout(0.0), 0)[0].astype(jnp.float32).sum()


def test_the_plain_path_makes_no_float32_product_of_bfloat16_gradients():
    shape = jax.ShapeDtypeStruct((2, 16, 4, 64), jnp.bfloat16)
    program = jax.jit(jax.grad(attended, (0, 1, 2))).lower(shape, shape, shape).as_text()
    products = [line for line in program.splitlines() if "stablehlo.dot_general" in line]
    assert len(products) == 5  # the attended values themselves are not asked for
    operands = [line.rpartition(" : (")[2].partition(")")[0] for line in products]
    assert all("f32>" not in operand for operand in operands)


def test_the_plain_path_has_the_gradients_of_its_formula():
    def by_formula(query, key, value):
        scores = jnp.einsum("bqnd,bknd->bnqk", query, key) * query.shape[-1] ** -0.5
        return jnp.einsum("bnqk,bknd->bqnd", jax.nn.softmax(scores), value).sum()

    arrays = [jnp.asarray(np.random.default_rng(i).normal(size=(2, 8, 2, 16))) for i in range(3)]
    found = jax.grad(attended, (0, 1, 2))(*arrays)
    for one, other in zip(found, jax.grad(by_formula, (0, 1, 2))(*arrays), strict=True):
        assert jnp.abs(one - other).max() < 1e-5
