"""What makers' sheets say of their chips: the rate of dense products in bfloat16, in FLOP/s."""

from __future__ import annotations

A100 = 312e12
# By a part of the device's kind; the first that fits counts. GeForce: with sums in float32.
CHIPS = {
    "H200": 989e12, "H100": 989e12, "A100": A100, "L40S": 362e12, "L4": 121e12, "RTX 4090": 165e12, "RTX 4080": 97.5e12,
    "TPU v6 lite": 918e12, "TPU v5 lite": 197e12, "TPU v5p": 459e12, "TPU v5": 459e12, "TPU v4": 275e12,
}  # fmt: skip


def datasheet_peak(kind: str) -> float | None:
    """FLOP/s in bfloat16 of a `device_kind`; None: this table does not have it."""
    return next((rate for name, rate in CHIPS.items() if name in kind), None)
