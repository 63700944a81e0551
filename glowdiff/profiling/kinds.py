"""What sort of work an operation does."""

from __future__ import annotations

import re
from collections.abc import Sequence

# By the name of its kernel; the first that fits. Names are those of cuDNN, cuBLAS, Triton and XLA.
_NAMES = (
    ("attention", r"fmha|flash|sdpa|mha_|dot_do_o|convert_dq"),
    ("copies and transposes", r"nchwtonhwc|nhwctonchw|addpadding|memcpy|memset|^copy|^wrapped_(copy|transpose)"),
    ("copies and transposes", r"transpose_fusion$"),
    ("convolutions", r"conv(?!ert)|fprop|dgrad|wgrad|implicit"),
    ("matrix products", r"gemm|nvjet|cutlass|xmma|dot(?!_product)|matmul|cublas|splitk"),
    ("random numbers", r"rng|threefry"),
    ("reductions", r"reduc|norm|softmax"),
    ("copies and transposes", r"transpose|copy"),
)
# Where that says nothing, by what the instruction fuses.
_OPCODES = (("convolutions", "convolution"), ("matrix products", "dot"), ("reductions", "reduce"))
MATRIX = ("attention", "convolutions", "matrix products")


def kind(name: str, opcodes: Sequence[str] = ()) -> str:
    """What an operation of that name does, which runs instructions of these opcodes.

    >>> kind("sm90_xmma_fprop_implicit_gemm"), kind("loop_add_fusion"), kind("ynn_fusion.3", ["fusion", "convolution"])
    ('convolutions', 'elementwise', 'convolutions')
    """
    lower = re.sub(r"[._]?\d+$", "", name.lower())
    by_name = next((label for label, pattern in _NAMES if re.search(pattern, lower)), None)
    return by_name or next((label for label, opcode in _OPCODES if opcode in opcodes), "elementwise")
