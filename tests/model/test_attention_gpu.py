"""The GPU attention kernel as far as it goes without a GPU: lowered, interpreted, and chosen.

On a Hopper GPU it is compared by `scripts/benchmark/attention_parity.py --device gpu`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from bertjax.config import ModelConfig
from bertjax.errors import UserError
from bertjax.model.attention import SelfAttention, attend, attention_path
from bertjax.model.dropout import Dropout
from bertjax.model.layers import Keys
from bertjax.model.sharding import device_of
from scripts.benchmark import attention_parity
from tests.model.devices import on

HAS_KERNEL = jax.__version_info__ >= (0, 11)
BATCH, HEADS = 2, 4


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
    filled = -(-length // 128) * 128
    assert f"{filled}x{filled}x" not in program  # no scores in memory


@pytest.fixture
def interpreted(monkeypatch):
    """The kernel runs on a CPU: copies, barriers and branches as they are, products by XLA.

    jax (0.12) interprets no product that is added to what is there already.
    """
    from jax.experimental.pallas import mosaic_gpu as plgpu

    from bertjax.model import attention_gpu_bodies as bodies

    if not hasattr(plgpu, "force_gpu_interpret_mode"):
        pytest.skip("this jax has no interpreter for such kernels")
    in_float32 = functools.partial(jnp.dot, preferred_element_type=jnp.float32)
    monkeypatch.setattr(
        bodies, "product", lambda left, right, _: in_float32(left[...], right[...].T)
    )
    add = lambda total, left, right: total + in_float32(left.astype(right.dtype), right[...])  # noqa: E731
    monkeypatch.setattr(bodies, "add_product", add)
    jax.clear_caches()  # of what was traced with the kernel's own products, and after it of these
    with plgpu.force_gpu_interpret_mode():
        yield
    jax.clear_caches()


def shuffled(pair_ids):
    return np.random.default_rng(1).permuted(pair_ids, axis=1)


@pytest.mark.parametrize(
    ("length", "head_dim", "rate", "order"),
    [
        (128, 64, 0.1, np.asarray),
        (200, 64, 0.0, np.asarray),
        (384, 64, 0.1, np.asarray),
        (200, 128, 0.5, shuffled),
    ],
)
@pytest.mark.slow
@pytest.mark.usefixtures("interpreted")
def test_interpreted_it_is_as_near_to_the_plain_path_as_bfloat16_allows(
    length, head_dim, rate, order
):
    lanes = attention_parity.HEADS * head_dim
    random = np.random.default_rng(0)
    arrays = random.standard_normal((4, attention_parity.BATCH, length, lanes))
    rounded, pair_ids = jnp.asarray(arrays, jnp.bfloat16), order(attention_parity.packed(length))
    expected = attention_parity.results(
        attention_parity.plain, rate, rounded.astype(jnp.float32), pair_ids
    )
    found = attention_parity.results(attention_parity.fused_on_gpu, rate, rounded, pair_ids)
    values, gradients = attention_parity.largest_errors(found, expected)
    assert values < 5e-3
    assert gradients < 1e-2


@pytest.mark.parametrize("half", [0, 1], ids=["first", "second"])
@pytest.mark.slow
@pytest.mark.usefixtures("interpreted")
def test_parts_of_a_row_without_a_pair_in_common_are_passed_over(half):
    """What is not a number there would spread through a product with 0."""
    rows, length, lanes = attention_parity.BATCH, 256, 64 * attention_parity.HEADS
    arrays = jax.random.normal(jax.random.key(0), (4, rows, length, lanes), jnp.bfloat16)
    pair_ids = jnp.arange(length) // (length // 2)
    arrays = jnp.where((pair_ids == half)[:, None], jnp.nan, arrays)
    by_row = jnp.broadcast_to(pair_ids, (rows, length))
    for array in attention_parity.results(attention_parity.fused_on_gpu, 0.1, arrays, by_row):
        np.testing.assert_array_equal(jnp.isfinite(array).all(axis=(0, 2)), pair_ids != half)


@pytest.mark.skipif(not HAS_KERNEL, reason="the kernel is for jax 0.11 and newer")
@pytest.mark.parametrize(
    ("pairs", "disjoint", "one"),
    [
        ("1111", [0, 0, 0, 0], [1, 1, 1, 1]),
        ("1122", [0, 0, 1, 1], [1, 1, 0, 0]),
        ("2211", [0, 0, 1, 1], [1, 1, 0, 0]),
        ("1m22", [0, 0, 1, 1], [1, 0, 0, 0]),
        ("mmmm", [0, 0, 0, 0], [0, 0, 0, 0]),
        ("1222", [0, 1, 1, 1], [1, 0, 0, 0]),
        ("122p", [0, 1, 1, 1], [1, 0, 0, 0]),
        ("p000", [0, 0, 0, 0], [0, 0, 0, 0]),
        ("0000", [0, 0, 0, 0], [1, 1, 1, 1]),
    ],
)
@pytest.mark.parametrize("other", [64, 128])
def test_a_part_is_passed_over_or_not_compared_by_the_pairs_in_it(pairs, disjoint, one, other):
    """Of the first block beside every part: m holds pairs 1 and 2, p pair 2 and padding (0)."""
    from bertjax.model.attention_gpu import _pair_ranges
    from bertjax.model.attention_gpu_blocks import OWN, KernelSettings, _compare_pairs

    held = {"m": [1, 2], "p": [2, 0]}
    blocks = [np.repeat(held.get(pair) or [int(pair)] * 2, OWN // 2) for pair in pairs]
    settings = KernelSettings(1, 64, OWN * len(pairs), 0.1, other)
    (pair_ranges,) = _pair_ranges(jnp.asarray(np.stack(blocks), jnp.int32).reshape(1, -1))
    assert pair_ranges.size % 32 == 0  # 128 bytes, which a copied row must be a multiple of
    found = [_compare_pairs(settings, pair_ranges, 0, part) for part in range(settings.steps)]
    each = other // OWN
    for number, (is_disjoint, is_one) in enumerate(found):
        covered = slice(number * each, (number + 1) * each)
        assert bool(is_disjoint) == all(disjoint[covered])
        assert bool(is_one) == all(one[covered])


def layer_program(where):
    """StableHLO of a whole attention layer with dropout on 8 rows, for these devices."""
    config = ModelConfig(hidden_size=HEADS * 64, num_heads=HEADS)
    with nnx.use_eager_sharding(False):
        layer = SelfAttention(config, jnp.dtype(jnp.bfloat16), Keys(jax.random.key(0)))
    mesh = where.mesh
    by_row = NamedSharding(mesh, PartitionSpec(tuple(mesh.axis_names)))
    hidden = jax.ShapeDtypeStruct((8, 128, HEADS * 64), jnp.bfloat16, sharding=by_row)
    pair_ids = jax.ShapeDtypeStruct((8, 128), jnp.int32, sharding=by_row)
    row_ids = jax.ShapeDtypeStruct((8,), jnp.int32, sharding=by_row)

    def run(hidden, pair_ids, row_ids):
        dropout = Dropout(0.1, jnp.zeros(2, jnp.uint32), row_ids)
        attend = lambda hidden: layer(hidden, hidden, pair_ids, dropout, 0)[0]  # noqa: E731
        attended, back = jax.vjp(attend, hidden)
        return attended, back(attended)

    with jax.sharding.use_abstract_mesh(mesh):
        traced = jax.jit(run).trace(hidden, pair_ids, row_ids)
        return traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.skipif(not HAS_KERNEL, reason="the kernel is for jax 0.11 and newer")
@pytest.mark.parametrize(
    ("where", "rows"),
    [(on("NVIDIA H200"), 8), (on("NVIDIA H200", data=2, fsdp=2), 2)],
    ids=["one GPU", "four GPUs"],
)
def test_each_gpu_runs_the_kernel_on_its_own_rows(where, rows):
    program = layer_program(where)
    calls = [line for line in program.splitlines() if "stablehlo.custom_call @mosaic_gpu" in line]
    assert len(calls) == 2
    projections = f"tensor<{rows}x128x{3 * HEADS}x64xbf16>"
    attended = f"(tensor<{rows}x128x{HEADS}x64xbf16>, tensor<{rows}x{HEADS}x128xf32>)"
    assert all(f": ({projections}, " in call for call in calls)
    results = {call.rpartition(" -> ")[2].strip() for call in calls}
    assert results == {attended, projections}


@pytest.mark.parametrize(
    ("length", "path"), [(64, "plain"), (128, "fused"), (512, "fused"), (513, "plain")]
)
def test_a_hopper_gpu_takes_the_kernel_from_128_to_512_positions(length, path):
    assert attention_path("auto", "hopper", length, lanes=768, head_dim=64) == path


def test_heads_of_128_take_it_when_asked():
    assert attention_path("auto", "hopper", 512, lanes=768, head_dim=128) == "plain"
    assert attention_path("fused", "hopper", 512, lanes=768, head_dim=128) == "fused"


@pytest.mark.parametrize(("device", "head_dim"), [("gpu", 64), ("hopper", 32)])
def test_without_a_kernel_the_path_is_plain_and_fused_is_refused(device, head_dim):
    assert attention_path("auto", device, 512, lanes=768, head_dim=head_dim) == "plain"
    with pytest.raises(UserError, match="H100 and H200"):
        attention_path("fused", device, 512, lanes=768, head_dim=head_dim)


@pytest.mark.parametrize(
    ("where", "dtype", "device"),
    [
        (on("NVIDIA H200"), "bfloat16", "hopper" if HAS_KERNEL else "gpu"),
        (on("NVIDIA H100 80GB HBM3"), "bfloat16", "hopper" if HAS_KERNEL else "gpu"),
        (on("NVIDIA A100-SXM4-80GB"), "bfloat16", "gpu"),
        (on("NVIDIA H200"), "float32", "gpu"),
        (on("NVIDIA H200", data=4, tensor=2), "bfloat16", "gpu"),
        (on("TPU v5 lite", "tpu"), "bfloat16", "tpu"),
    ],
    ids=["H200", "H100", "A100", "float32", "tensor parallel", "TPU"],
)
def test_the_kernel_is_for_hopper_bfloat16_and_whole_rows(where, dtype, device):
    found = []

    def program(array):
        found.append(device_of(array, jnp.dtype(dtype)))
        return array

    jax.eval_shape(program, jax.ShapeDtypeStruct((8,), jnp.float32, sharding=where))
    assert found == [device]


def test_one_product_gives_the_queries_keys_and_values_of_three():
    config = ModelConfig(hidden_size=64, num_heads=4)
    with nnx.use_eager_sharding(False):
        layer = SelfAttention(config, jnp.dtype(jnp.float32), Keys(jax.random.key(0)))
    for number, part in enumerate((layer.query, layer.key, layer.value)):
        part.bias[...] = jax.random.normal(jax.random.key(number), (64,))
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
