"""What follows a product: the plain path, and the GPU's kernels as far as they go without a GPU.

On a Hopper GPU the kernels are compared by `scripts/benchmark/epilogue_parity.py --device gpu`.
"""

import functools
from dataclasses import replace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from scipy.stats import norm as normal_distribution

from bertjax.config import ModelConfig
from bertjax.model.dropout import Dropout
from bertjax.model.encoder import EncoderLayer
from bertjax.model.epilogues import add_and_norm, epilogue_path, project_and_activate
from bertjax.model.layers import Dense, Keys, LayerNorm
from bertjax.model.positions import Selected, gather_positions
from tests.model.devices import on

needs_kernels = pytest.mark.skipif(
    jax.__version_info__ < (0, 11), reason="the kernels are for jax 0.11 and newer"
)
BATCH, LENGTH, HIDDEN = 8, 128, 256
CONFIG = ModelConfig(num_layers=1, hidden_size=HIDDEN, num_heads=4, intermediate_size=512)


def layer_program(where, config=CONFIG, dtype="bfloat16", length=LENGTH, rate=0.1, count=None):
    """StableHLO of an encoder layer and its gradient, at `count` selected positions if given."""
    with nnx.use_eager_sharding(False):
        layer = EncoderLayer(config, jnp.dtype(dtype), Keys(jax.random.key(0)))
    graph, params = nnx.split(layer)
    by_row = NamedSharding(where.mesh, PartitionSpec(tuple(where.mesh.axis_names)))
    hidden = jax.ShapeDtypeStruct((BATCH, length, HIDDEN), dtype, sharding=by_row)
    ids = jax.ShapeDtypeStruct((BATCH, length), jnp.int32, sharding=by_row)
    rows = jax.ShapeDtypeStruct((BATCH,), jnp.int32, sharding=by_row)
    positions = jax.ShapeDtypeStruct((BATCH, count or 1), jnp.int32, sharding=by_row)

    def run(hidden, pair_ids, row_ids, positions):
        dropout = Dropout(rate, jnp.zeros(2, jnp.uint32), row_ids)
        selected = None if count is None else Selected(positions, length)

        @jax.checkpoint if config.remat else lambda apply: apply
        def apply(params, hidden):
            return nnx.merge(graph, params)(hidden, pair_ids, dropout, 1, selected=selected)[0]

        output, back = jax.vjp(apply, params, hidden)
        return output, back(output)

    with jax.sharding.use_abstract_mesh(where.mesh):
        traced = jax.jit(run).trace(hidden, ids, rows, positions)
        return traced.lower(lowering_platforms=("cuda",)).as_text()


def results_of_kernels(program):
    """The types of each kernel's results."""
    calls = [line for line in program.splitlines() if "stablehlo.custom_call @mosaic_gpu" in line]
    return [call.rpartition(" -> ")[2] for call in calls]


@needs_kernels
@pytest.mark.parametrize(
    ("where", "rows", "changed"),
    [
        (on("NVIDIA H200"), 8, {}),
        (on("NVIDIA H200", data=2, fsdp=2), 2, {}),
        (on("NVIDIA H200", data=2, fsdp=2), 2, {"rate": 0.0}),
        (on("NVIDIA H200", data=2, fsdp=2), 2, {"count": 20}),
        (on("NVIDIA H200", data=2, fsdp=2), 2, {"config": replace(CONFIG, remat=True)}),
    ],
    ids=["one GPU", "four GPUs", "no dropout", "selected positions", "remat"],
)
def test_each_gpu_runs_the_kernels_on_its_own_rows(where, rows, changed):
    found = results_of_kernels(layer_program(where, **changed))
    positions = changed.get("count", LENGTH)
    normalised, inner = (f"{rows}x{positions}x{width}xbf16" for width in (HIDDEN, 512))
    sums = f"x3x4x{HIDDEN}xf32"  # by each of four warps, for bias, scale and the product's bias
    forward = [result for result in found if normalised in result and "f32" not in result]
    backward = [result for result in found if normalised in result and sums in result]
    assert forward
    assert len(backward) == 1  # a function that a layer's two norms share
    assert backward[0].count(normalised) == (2 if changed.get("rate", 0.1) else 1)
    assert sum(inner in result for result in found) >= 2  # GELU, each way


@needs_kernels
@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("NVIDIA A100-SXM4-80GB", {}),
        ("NVIDIA H200", {"dtype": "float32"}),
        ("NVIDIA H200", {"length": 126}),
        ("NVIDIA H200", {"config": replace(CONFIG, attention="plain", epilogues="plain")}),
    ],
    ids=["A100", "float32", "positions that four warps do not share", "plain"],
)
def test_elsewhere_the_compiler_has_them(kind, changed):
    assert not results_of_kernels(layer_program(on(kind), **changed))


@pytest.mark.parametrize(
    ("setting", "device", "positions", "outputs", "path"),
    [
        ("auto", "hopper", 128, 768, "fused"),
        ("auto", "hopper", 20, 1024, "fused"),
        ("plain", "hopper", 128, 768, "plain"),
        ("auto", "gpu", 128, 768, "plain"),
        ("auto", "tpu", 128, 768, "plain"),
        ("auto", "cpu", 128, 768, "plain"),
        ("auto", "hopper", 19, 768, "plain"),
        ("auto", "hopper", 128, 312, "plain"),
        ("auto", "hopper", 128, 1152, "plain"),
    ],
)
def test_the_kernels_are_for_hopper_and_whole_groups(setting, device, positions, outputs, path):
    assert epilogue_path(setting, device, positions, outputs, widest=1024) == path


def made(function, *shape):
    with nnx.use_eager_sharding(False):
        return function(*shape, CONFIG, *((jnp.float32,) if shape else ()), Keys(jax.random.key(1)))


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


@pytest.mark.slow
def test_selected_positions_lose_what_they_lose_among_all():
    norm, projection = made(LayerNorm), made(Dense, 512, HIDDEN, (None, None))
    residual, inner = normal(2, 16, HIDDEN), normal(2, 16, 512, seed=1)
    dropout = Dropout(0.3, jax.random.key(2), jnp.arange(2))
    every = add_and_norm(
        norm, residual, projection, inner, dropout=dropout, site=4, epilogues="auto"
    )
    positions = jnp.array([[3, 0, 15], [7, 7, 1]])
    selected = Selected(positions, 16)
    some = [gather_positions(array, positions) for array in (residual, inner)]
    found = add_and_norm(
        norm,
        some[0],
        projection,
        some[1],
        dropout=dropout,
        site=4,
        epilogues="auto",
        selected=selected,
    )
    assert jnp.abs(found - gather_positions(every, positions)).max() < 1e-5


def test_the_activation_is_that_of_the_projection():
    projection, inputs = made(Dense, HIDDEN, 512, (None, None)), normal(2, 4, HIDDEN)
    projected = np.asarray(projection(inputs), np.float64)
    found = project_and_activate("gelu", projection, inputs, "auto")
    assert np.abs(found - projected * normal_distribution.cdf(projected)).max() < 1e-6
    found = project_and_activate("relu", projection, inputs, "auto")
    assert np.abs(found - np.maximum(projected, 0)).max() < 1e-6


@needs_kernels
@pytest.mark.parametrize("shape", [0, 1], ids=["wide groups", "narrow groups in parts"])
def test_interpreted_the_kernels_are_as_near_as_bfloat16_allows(shape):
    from scripts.benchmark.epilogue_parity import SHAPES, errors

    for name, (values, gradients, *plain) in errors(*SHAPES[shape], interpret=True):
        assert values < 2**-7 > gradients, name
        assert values < 2 * plain[0], name
        assert gradients < 2 * plain[1], name


@needs_kernels
def test_one_exponential_gives_the_normal_distribution():
    from bertjax.model.biased_gelu_gpu import _normal_distribution

    points = np.linspace(-12, 12, 20_001, dtype=np.float32)
    distribution, exponential = _normal_distribution(jnp.asarray(points))
    exact = points.astype(np.float64)
    assert np.abs(distribution - normal_distribution.cdf(exact)).max() < 5e-7  # rounding included
    assert np.abs(exponential - np.exp(-0.5 * exact * exact)).max() < 1e-6


@needs_kernels
@pytest.mark.parametrize("count", [None, 4], ids=["every position", "selected positions"])
def test_the_model_hands_the_kernels_what_the_plain_path_computes_with(monkeypatch, count):
    from bertjax.model import biased_gelu_gpu, epilogues, positions_gpu, residual_norm_gpu

    assert epilogues._POSITIONS == positions_gpu.WARPS
    kernels = []
    for module, name in (
        (biased_gelu_gpu, "fused_biased_gelu"),
        (residual_norm_gpu, "fused_residual_norm"),
    ):
        interpreted = functools.partial(getattr(module, name), interpret=True)
        kernels.append(mock.Mock(wraps=interpreted))
        monkeypatch.setattr(module, name, kernels[-1])
    monkeypatch.setattr(epilogues, "device_of", lambda *_: "hopper")
    with nnx.use_eager_sharding(False):
        layer = EncoderLayer(CONFIG, jnp.dtype(jnp.bfloat16), Keys(jax.random.key(0)))
    graph, params = nnx.split(layer)
    leaves, tree = jax.tree.flatten(params)
    noise = [0.1 * normal(*leaf.shape, seed=seed) for seed, leaf in enumerate(leaves)]
    params = tree.unflatten([leaf + more for leaf, more in zip(leaves, noise, strict=True)])
    hidden = normal(2, 8, HIDDEN).astype(jnp.bfloat16)
    pair_ids, dropout = jnp.ones((2, 8), jnp.int32), Dropout(0.1, jax.random.key(3), jnp.arange(2))
    selected = None if count is None else Selected(jnp.array([[1, 7, 0, 3], [2, 2, 5, 4]]), 8)

    def run(setting):
        def apply(params, hidden):
            layer = nnx.merge(graph, params)
            layer.epilogues = setting
            return layer(hidden, pair_ids, dropout, 1, selected=selected)[0]

        output, back = jax.vjp(apply, params, hidden)
        return [output, *jax.tree.leaves(back(normal(*output.shape, seed=9).astype(output.dtype)))]

    plain = run("plain")
    assert not any(kernel.called for kernel in kernels)
    fused = run("auto")
    assert all(kernel.called for kernel in kernels)
    for found, expected in zip(fused, plain, strict=True):
        difference = jnp.abs(found.astype(jnp.float32) - expected.astype(jnp.float32)).max()
        # That of the keys' bias is 0 and what rounding makes of it.
        assert difference < 0.03 * jnp.abs(expected.astype(jnp.float32)).max() + 0.1
