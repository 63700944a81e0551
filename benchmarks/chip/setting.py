"""Where measurements run: the device, its ceilings, and whether all is at toy size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
from jax.sharding import Mesh

from benchmarks.datasheet import datasheet_peak
from glowdiff.config.sections import MeshConfig
from glowdiff.sharding import make_mesh


@dataclass
class Setting:
    """One device, and what measurements share."""

    toy: bool
    mesh: Mesh = field(default_factory=lambda: make_mesh(MeshConfig(), jax.devices()[:1]))
    peak: float | None = None  # FLOP/s of matrix products that the device has shown
    processes: list[Any] = field(default_factory=list)  # to end at the end
    compiled: dict[str, Any] = field(default_factory=dict)  # programs, by measurement, for who looks at them again

    @property
    def device(self) -> Any:
        """The one that all of it runs on."""
        return self.mesh.devices.flat[0]

    @property
    def seconds(self) -> float:
        """How long timing takes, about."""
        return 0.01 if self.toy else 2.5

    def utilisation(self, flops: float, seconds: float) -> dict[str, Any]:
        """What counted FLOPs in so many seconds are of the device's ceilings."""
        rate = flops / seconds
        published = datasheet_peak(self.device.device_kind)
        return {
            "tflops_per_second": round(rate / 1e12, 4),
            "of_shown_peak": self.peak and round(rate / self.peak, 4),
            "of_datasheet": published and round(rate / published, 4),
        }
