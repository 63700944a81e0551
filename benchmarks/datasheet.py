"""What makers' sheets say of their chips."""

from __future__ import annotations

from typing import NamedTuple

A100 = 312e12
# FLOP/s of dense products in bfloat16, by a part of the device's kind; the first that fits counts. GeForce: with sums
# in float32.
CHIPS = {
    "H200": 989e12, "H100": 989e12, "A100": A100, "L40S": 362e12, "L4": 121e12, "RTX 4090": 165e12, "RTX 4080": 97.5e12,
    "TPU v6 lite": 918e12, "TPU v5 lite": 197e12, "TPU v5p": 459e12, "TPU v5": 459e12, "TPU v4": 275e12,
}  # fmt: skip


class TpuChip(NamedTuple):
    """A TPU chip among its neighbours."""

    flops: float  # FLOP/s of dense products in bfloat16
    memory: float  # bytes
    bandwidth: float  # bytes/s of that memory
    links: float  # bytes/s that leave the chip by all of its links together
    tile: int  # side of the matrix unit's tiles


# cloud.google.com/tpu/docs/v5e, v6e, v5p. Bandwidths of memory are those before today's pages rounded them (819 and
# 1,640 GB/s); of links they give both directions together (400, 800, 1,200 GB/s), of which this is one.
TPU_CHIPS = {
    "TPU v5 lite": TpuChip(CHIPS["TPU v5 lite"], 16e9, 819e9, 200e9, 128),
    "TPU v6 lite": TpuChip(CHIPS["TPU v6 lite"], 32e9, 1640e9, 400e9, 256),
    "TPU v5": TpuChip(CHIPS["TPU v5"], 95e9, 2765e9, 600e9, 128),
}


def datasheet_peak(kind: str) -> float | None:
    """FLOP/s in bfloat16 of a `device_kind`; None: this table does not have it."""
    return next((rate for name, rate in CHIPS.items() if name in kind), None)
