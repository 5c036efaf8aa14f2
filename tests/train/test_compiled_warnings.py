"""What would not scale is told in one line, by the compiled step's listing and its layout."""

import dataclasses

import jax

from bertjax.config import MeshConfig
from bertjax.train.compiled_report import Listing
from bertjax.train.compiled_warnings import find_warnings
from bertjax.train.program import make_program
from tests.train.test_parallel_bert import CONFIG, LENGTH, ROWS, bert_objective

HEAD = "HloModule jit_step, num_partitions=8\n\nENTRY %main (a: f32[2]) -> f32[2] {\n"


def warnings(line, mesh=None, **model):
    config = dataclasses.replace(
        CONFIG,
        mesh=mesh or MeshConfig(),
        model=dataclasses.replace(CONFIG.model, **model),
        data=dataclasses.replace(CONFIG.data, length=LENGTH),
    )
    program = make_program(bert_objective(config), config, jax.devices())
    return find_warnings(config, program, Listing(f"{HEAD}  %b = {line}\n}}\n"))


def test_random_bits_for_the_whole_batch_on_every_device():
    line = f'u8[{ROWS * LENGTH},24] rng-bit-generator(%a), metadata={{op_name="dropout"}}'
    (warning,) = warnings(line)
    assert warning.startswith("rng-bit-generator (dropout): u8[512,24] has the rows of the whole")


def test_a_devices_own_rows_are_no_matter():
    assert warnings(f"u8[{ROWS * LENGTH // 8},24] rng-bit-generator(%a)") == []


def test_an_activation_that_is_summed_over_devices():
    line = 'f32[2,32,64] all-reduce(%a), to_apply=%add, metadata={op_name="layer/matmul"}'
    (warning,) = warnings(line)
    assert warning == (
        "all-reduce of f32[2,32,64], which is neither a gradient nor a weight (layer/matmul)"
    )


def test_a_gradient_that_is_summed_over_devices_is_no_matter():
    line = 'f32[2,32,64] all-reduce(%a), metadata={op_name="jit(s)/sum_gradients/psum"}'
    assert warnings(line) == []


def test_the_sum_of_gradients_may_have_any_shape():
    line = 'f32[512,24] reduce-scatter(%a), metadata={op_name="jit(s)/sum_gradients/scatter"}'
    assert warnings(line) == []


def test_a_part_of_a_weight_is_no_matter_but_an_activation_of_its_size_is():
    """Half of a table of 1,024 positions has as many rows as the batch has tokens."""
    assert warnings("f32[512,16] slice(%a)", max_length=1024) == []
    (warning,) = warnings("u8[512,8,8] rng-bit-generator(%a)", max_length=1024)
    assert "u8[512,8,8] has the rows of the whole batch" in warning


def test_heads_as_wide_as_the_batch_has_rows_are_no_matter():
    assert warnings(f"bf16[2,8,32,{ROWS}] fusion(%a)", hidden_size=8 * ROWS) == []


def test_matrices_that_do_not_divide_over_the_devices():
    (warning,) = warnings("f32[2] copy(%a)", hidden_size=12, num_heads=2, intermediate_size=20)
    assert "of the optimizer state is whole on every device" in warning
