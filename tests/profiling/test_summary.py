"""The figures of a trace, of kernels whose times are known."""

import pytest

from benchmarks.chip.heaviest import parts
from glowdiff.profiling.kernels import Kernel
from glowdiff.profiling.kinds import kind
from glowdiff.profiling.program import read_program
from glowdiff.profiling.summary import lines, summary

NAMES = {
    "sm90_xmma_fprop_implicit_gemm_bf16bf16": "convolutions",
    "nvjet_tst_128x256_64x4": "matrix products",
    "gemm_fusion_dot_12": "matrix products",
    "cudnn_generated_fort_native_sdpa_sm90_flash_fprop": "attention",
    "cudnn::ops::nchwToNhwcKernel": "copies and transposes",
    "input_reduce_fusion_3": "reductions",
    "loop_convert_fusion": "elementwise",
}
TEXT = """HloModule jit_train_step, is_scheduled=true
%fused (p: f32[2]) -> f32[2] {
  ROOT %a.1 = f32[2]{0} dot(%p, %p), metadata={op_name="jit(f)/b/dot"}
}
ENTRY %main (p: f32[2]) -> f32[2] {
  %while.1 = (s32[], /*index=5*/f32[2]{0}) while(%t), condition=%c, body=%d
  %fusion.1 = bf16[2]{0} fusion(%x), metadata={op_name="jit(train_step)/jvp(UNet)/norm_in" source_line=1}
  ROOT %loop_add_fusion.2 = f32[2]{0} fusion(%p), calls=%fused
}
"""


def test_kernels_are_told_apart_and_added_up():
    assert {name: kind(name) for name in NAMES} == NAMES
    kernels = [Kernel(name, "fusion.1", 0.001, 0.002 * i) for i, name in enumerate(NAMES)]
    program = read_program(TEXT)
    found = summary(kernels, 1, program)
    assert found["kernels_ms"] == pytest.approx(7)
    assert found["span_ms"] == pytest.approx(13)
    assert found["matrix_share"] == pytest.approx(4 / 7, abs=1e-4)
    assert found["heaviest"][0]["from"] == "jvp(UNet)/norm_in"
    assert parts(kernels, program) == {"norms and SiLU": pytest.approx(3 / 7, abs=1e-4)}
    head, columns, *rows = lines(found, "batch")
    assert head.startswith("Profile of 1 batch: 7 ms of operations a batch; 57.1% of it is matrix work")
    assert columns.split() == ["share", "ms", "runs", "kind", "operation", "from"]
    assert len(rows) == 7
    with pytest.raises(ValueError, match="no kernels"):
        summary([], 1, program)


def test_a_program_says_what_its_instructions_fuse():
    program = read_program(TEXT)
    assert program.name == "jit_train_step"
    fused = program.instructions["loop_add_fusion.2"]
    assert fused.opcodes == ("fusion", "dot")
    assert fused.paths == ("b/dot",)
    assert kind("loop_add_fusion.2", fused.opcodes) == "matrix products"
    assert program.instructions["while.1"].opcodes == ("while",)
