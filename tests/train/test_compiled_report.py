"""The compiler's listing is read as it is meant: a small one, written for the purpose."""

import pytest

from bertjax.train.compiled_report import Collective, Listing

LISTING = """HloModule jit_step, num_partitions=8

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y), metadata={op_name="sum_gradients/add"}
}

%all-reduce-scatter.1 (whole: f32[16,8]) -> f32[2,8] {
  %whole = f32[16,8] parameter(0)
  %all = f32[16,8] all-reduce(%whole), replica_groups={}, to_apply=%add
  ROOT %own = f32[2,8] dynamic-slice(%all, %whole), dynamic_slice_sizes={2,8}
}

%condition (state.1: (s32[], f32[4])) -> pred[] {
  %state.1 = (s32[], f32[4]) parameter(0)
  %limit = s32[]{:T(128)} constant(12)
  %index = s32[] get-tuple-element(%state.1), index=0
  ROOT %less = pred[] compare(%index, %limit), direction=LT
}

%body (state.2: (s32[], f32[4])) -> (s32[], f32[4]) {
  %state.2 = (s32[], f32[4]) parameter(0)
  %work = f32[4]{0} multiply(%state.2, %state.2), backend_config={"estimated_cycles":"100"}
  ROOT %next = (s32[], f32[4]) tuple(%state.2, %work)
}

%inside (p: f32[16,8]) -> f32[16,8] {
  %p = f32[16,8] parameter(0)
  %bits = u32[16,8]{1,0} rng-bit-generator(%p), algorithm=rng_default
  ROOT %twice = f32[16,8] add(%p, %p), backend_config={"estimated_cycles":"999"}
}

ENTRY %main (a: f32[16,8]) -> f32[2,8] {
  %a = f32[16,8]{1,0:T(8,128)} parameter(0)
  %loop = (s32[], f32[4]) while(%a), condition=%condition, body=%body
  %fused = f32[16,8] fusion(%a), kind=kLoop, calls=%inside, backend_config={"estimated_cycles":"7"}
  %kernel = bf16[4]{0} custom-call(%a), custom_call_target="tpu_custom_call", metadata={
"several": "lines"
}
  %gathered = (f32[4,8], f32[16,8]) all-gather-start(%a), replica_groups=[2,4]<=[4,2]T(1,0), \
dimensions={0}, metadata={op_name="jit(s)/new_weights/x"}
  %done = f32[16,8] all-gather-done(%gathered)
  %summed = (f32[16,8], bf16[8]) all-reduce(%a, %a), to_apply=%add
  %shared = f32[2,8] fusion(%a), kind=kCustom, calls=%all-reduce-scatter.1
  %permuted = f32[16,8] collective-permute(%a), source_target_pairs={{0,1},{1,0}}, \
metadata={op_name="edge"}
  ROOT %part = f32[8,8]{1,0} reduce-scatter(%fused), replica_groups={{0,1},{2,3},{4,5},{6,7}}, \
to_apply=%add, metadata={op_name="jit(step)/jit(main)/shard_map/sum_gradients/reduce_scatter"}
}
"""


def test_cycles_count_a_loop_as_often_as_it_runs_and_a_fusion_once():
    assert Listing(LISTING).cycles() == 12 * 100 + 7


def test_what_has_no_estimate_is_counted_by_kind():
    assert Listing(LISTING).not_estimated() == {
        "Pallas kernel": 1,
        "all-gather": 1,
        "all-reduce": 1,
        "collective-permute": 1,
        "reduce-scatter": 2,
        "rng-bit-generator": 1,
    }


WHOLE = 16 * 8 * 4  # bytes


@pytest.mark.parametrize(
    ("kind", "source", "size"),
    [
        ("all-gather", "new_weights/x", WHOLE * 3 // 4),  # among four, as a table of groups says
        ("all-reduce", "sum_gradients/add", 2 * (WHOLE + 8 * 2) * 7 // 8),  # no groups: all eight
        ("reduce-scatter", "sum_gradients/reduce_scatter", WHOLE // 2),  # in pairs, written out
        ("reduce-scatter", "sum_gradients/add", WHOLE * 7 // 8),  # empty groups: all eight
        ("collective-permute", "edge", WHOLE),
    ],
)
def test_a_transfer_is_told_with_its_place_and_the_bytes_that_a_device_sends(kind, source, size):
    assert Collective(kind, source, 1, size) in Listing(LISTING).collectives()


OVERLAPPED = """HloModule jit_step, num_partitions=2

%started (p: bf16[4]) -> (bf16[4], bf16[8]) {
  %p = bf16[4] parameter(0)
  %gather.1 = bf16[8] all-gather(%p), replica_groups={{0,1}}, frontend_attributes={chain_id="3"}
  ROOT %on.1 = (bf16[4], bf16[8]) custom-call(%gather.1), custom_call_target="AsyncStart"
}

%meanwhile (q: bf16[4]) -> bf16[8] {
  %q = bf16[4] parameter(0)
  ROOT %gather.2 = bf16[8] all-gather(%q), replica_groups={{0,1}}, \
frontend_attributes={chain_id="3"}
}

ENTRY %main (a: bf16[4]) -> bf16[8] {
  %a = bf16[4] parameter(0)
  %start = (bf16[4], bf16[8]) fusion(%a), kind=kCustom, calls=%started
  %product = bf16[8] fusion(%a), kind=kOutput, calls=%meanwhile
  ROOT %own = bf16[8] all-gather(%a), replica_groups={{0,1}}, frontend_attributes={chain_id="4"}
}
"""


def test_a_transfer_that_goes_on_during_other_operations_counts_once():
    listing = Listing(OVERLAPPED)
    assert listing.collectives() == [Collective("all-gather", "", 2, 2 * 8)]
    assert listing.not_estimated() == {"all-gather": 2}


def test_nothing_at_all_can_be_read_from_an_empty_listing():
    listing = Listing("")
    assert (listing.cycles(), listing.collectives()) == (0, [])
