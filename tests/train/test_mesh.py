import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from bertjax.config import Config, MeshConfig, ModelConfig, TrainConfig
from bertjax.errors import UserError
from bertjax.model import bert
from bertjax.train.mesh import (
    batch_sharding,
    make_mesh,
    mesh_shape,
    optimizer_shardings,
    param_shardings,
    put_batch,
    validate_mesh,
)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(), (8, 1, 1)),
        (MeshConfig(data=2, fsdp=-1), (2, 4, 1)),
        (MeshConfig(data=2, fsdp=2, tensor=2), (2, 2, 2)),
        (MeshConfig(data=1, tensor=-1), (1, 1, 8)),
    ],
)
def test_minus_one_takes_the_devices_that_are_left(config, shape):
    assert mesh_shape(config, 8) == shape


@pytest.mark.parametrize(
    "config",
    [
        MeshConfig(data=3),
        MeshConfig(data=-1, fsdp=3),
        MeshConfig(data=-1, fsdp=-1),
        MeshConfig(data=0),
        MeshConfig(data=-2),
        MeshConfig(data=4),
    ],
)
def test_sizes_that_do_not_make_up_the_devices_are_refused(config):
    with pytest.raises(UserError, match=r"mesh\.data="):
        mesh_shape(config, 8)


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "remedy"),
    [
        (12, 1, "fewer devices"),
        (12, 4, "fewer devices"),
        (8, 2, "--train.accumulation=1"),
        (96, 8, "--train.accumulation=4"),
    ],
)
def test_a_batch_that_does_not_divide_over_devices_and_microbatches_is_refused_with_a_remedy(
    batch_size, accumulation, remedy
):
    train = TrainConfig(steps=1, batch_size=batch_size, accumulation=accumulation)
    told = f"train.batch_size={batch_size} is not divisible by 8 .*: use {remedy}"
    with pytest.raises(UserError, match=told):
        validate_mesh(Config(train=train), 8, "cpu")


@pytest.mark.parametrize("mesh", [MeshConfig(tensor=8), MeshConfig(data=1, tensor=-1)])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ModelConfig(num_heads=12), "mesh.tensor=8: model.num_heads=12 cannot be shared out"),
        (
            ModelConfig(hidden_size=512, num_heads=8, attention="fused"),
            "over mesh.tensor=8 do not fill groups of 128",
        ),
    ],
)
def test_heads_that_a_tensor_group_cannot_share_are_refused(mesh, model, message):
    config = Config(mesh=mesh, model=model, train=TrainConfig(batch_size=8))
    with pytest.raises(UserError, match=message):
        validate_mesh(config, 8, "cpu")


def test_a_tensor_group_shares_its_rows():
    config = Config(mesh=MeshConfig(tensor=4), train=TrainConfig(steps=1, batch_size=2))
    validate_mesh(config, 8, "cpu")
    mesh = make_mesh(config.mesh)
    rows = put_batch({"a": np.arange(2)}, batch_sharding(mesh))["a"]
    assert sorted(int(shard.data[0]) for shard in rows.addressable_shards) == [0] * 4 + [1] * 4


def bert_shardings(mesh_config, **model):
    sizes = {"num_layers": 1, "hidden_size": 32, "num_heads": 4, "intermediate_size": 64}
    config = ModelConfig(**(sizes | {"vocab_size": 100, "max_length": 16} | model))
    params = jax.eval_shape(lambda: bert.init_params(config, jax.random.key(0)))
    mesh = make_mesh(mesh_config)
    return params, param_shardings(params, bert.logical_axes(config), mesh), mesh


def test_every_matrix_of_bert_is_split_by_fsdp_and_tensor_parallelism():
    params, shardings, _ = bert_shardings(MeshConfig(data=2, fsdp=2, tensor=2))
    parts = jax.tree.map(
        lambda leaf, sharding: leaf.size // np.prod(sharding.shard_shape(leaf.shape)),
        params["layers"],
        shardings["layers"],
    )
    matrices = [
        part
        for part, leaf in zip(
            jax.tree.leaves(parts), jax.tree.leaves(params["layers"]), strict=True
        )
        if leaf.ndim > 1
    ]
    assert matrices == [4] * len(matrices)


def test_moments_lie_as_their_parameters_do():
    params, shardings, mesh = bert_shardings(MeshConfig(data=1, fsdp=4, tensor=2))
    adam = optimizer_shardings(optax.adam(1.0), params, shardings, mesh)[0]
    assert adam.mu == shardings
    assert adam.count.spec == PartitionSpec()


def test_an_axis_that_does_not_divide_is_refused_with_its_parameter():
    with pytest.raises(UserError, match=r"mesh\.tensor=8 does not divide the 'heads' axis \(20\)"):
        bert_shardings(MeshConfig(tensor=8), num_heads=2, hidden_size=20)


def test_a_matrix_that_fsdp_cannot_cut_is_refused_by_name():
    with pytest.raises(UserError, match=r"mesh\.fsdp=8 divides no axis of .*\[\d+, \d+\]"):
        bert_shardings(MeshConfig(data=1, fsdp=8), hidden_size=20, intermediate_size=60)


def test_parameters_without_axes_are_whole_on_every_device():
    mesh = make_mesh(MeshConfig())
    sharding = param_shardings({"a": jnp.zeros((3, 5))}, None, mesh)["a"]
    assert sharding.is_fully_replicated


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_the_batch_is_the_same_on_any_number_of_devices(devices):
    batch = {"token_ids": np.arange(16 * 3).reshape(16, 3)}
    mesh = make_mesh(dataclasses.replace(MeshConfig(), data=devices), jax.devices()[:devices])
    on_devices = put_batch(batch, batch_sharding(mesh))
    np.testing.assert_array_equal(on_devices["token_ids"], batch["token_ids"])


@dataclasses.dataclass(frozen=True)
class Device:
    """As much of a device as a mesh looks at."""

    id: int
    platform: str
    slice_index: int
    process_index: int
    device_kind: str = "some"


def test_gpus_of_several_hosts_stand_in_their_own_order():
    gpus = [Device(number, "gpu", number // 4, number // 4) for number in range(8)]
    mesh = make_mesh(MeshConfig(tensor=2), gpus[4:] + gpus[:4])
    assert mesh.devices.tolist() == np.array(gpus).reshape(4, 1, 2).tolist()


def test_several_tpu_slices_are_refused():
    chips = [Device(number, "tpu", number // 4, 0) for number in range(8)]
    with pytest.raises(UserError, match="2 TPU slices: a run has one"):
        make_mesh(MeshConfig(), chips)


@pytest.mark.parametrize(
    ("mesh", "dtype", "platform", "refused"),
    [
        (MeshConfig(data=4, tensor=2), "bfloat16", "cpu", True),
        (MeshConfig(data=1, fsdp=4, tensor=2), "bfloat16", "cpu", True),
        (MeshConfig(data=4, tensor=2), "bfloat16", "tpu", False),
        (MeshConfig(data=4, tensor=2), "float32", "cpu", False),
        (MeshConfig(data=1, tensor=8), "bfloat16", "cpu", False),
        (MeshConfig(data=8), "bfloat16", "cpu", False),
    ],
)
def test_what_would_abort_the_cpu_compiler_is_refused(mesh, dtype, platform, refused):
    config = Config(
        model=ModelConfig(num_heads=8, hidden_size=512),
        mesh=mesh,
        train=TrainConfig(steps=9, batch_size=16, gradient_dtype=dtype),
    )
    if not refused:
        validate_mesh(config, 8, platform)
        return
    with pytest.raises(UserError, match="XLA's CPU compiler cannot do it"):
        validate_mesh(config, 8, platform)
