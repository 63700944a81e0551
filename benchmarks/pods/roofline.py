"""How long a compiled program takes at least on a slice of TPUs, by the makers' figures of a chip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks.datasheet import TpuChip


class Roofline(NamedTuple):
    """Seconds of one call that a chip spends at full rate on each kind of work; they may all overlap."""

    products: float  # of matrices, recomputed ones included
    memory: float
    links: float

    @property
    def seconds(self) -> float:
        """A bound from below."""
        return max(self)


def sent_bytes(kind: str, size: int, devices: int) -> int:
    """Bytes that leave each device in a collective of `size` bytes over `devices` devices, as in a ring.

    `size` is that of the whole array, what is reduced or what has been gathered.
    """
    if kind in ("collective-permute", "collective-broadcast"):
        return size
    rounds = 2 if kind == "all-reduce" else 1  # reduced and scattered, then gathered
    return rounds * size * (devices - 1) // devices


def roofline(figures: Mapping[str, Any], chip: TpuChip) -> Roofline:
    """Of a compiled program's figures on each device: `flops`, `hbm_bytes` and the collectives' `sent` bytes.

    All links of the chip count, whichever a collective uses; the ends of a slice that is no torus have fewer.
    """
    return Roofline(
        figures["flops"] / chip.flops,
        figures["hbm_bytes"] / chip.bandwidth,
        sum(row["sent"] for row in figures["collectives"]) / chip.links,
    )


def utilisation(figures: Mapping[str, Any], chip: TpuChip) -> float:
    """At most this share of the chip's FLOP/s is work of the model (MFU); recomputation is none."""
    return figures["model_flops"] / chip.flops / roofline(figures, chip).seconds


def images_per_second(figures: Mapping[str, Any], chip: TpuChip) -> float:
    """At most; of the whole slice."""
    return figures["batch"] / roofline(figures, chip).seconds
