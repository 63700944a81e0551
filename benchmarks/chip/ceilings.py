"""What the device can do at best: matrix products and passes over memory."""

from __future__ import annotations

from typing import Any

from benchmarks.chip.setting import Setting
from benchmarks.datasheet import datasheet_peak
from benchmarks.timing import copy_bandwidth, matmul_peak


def measure(setting: Setting) -> dict[str, Any]:
    """Both ceilings; `setting` remembers the first."""
    setting.peak = matmul_peak(setting.mesh, "bfloat16")
    published = datasheet_peak(setting.device.device_kind)
    bandwidth = copy_bandwidth(0.01 if setting.toy else 4.0)
    return {
        "tflops_per_second": round(setting.peak / 1e12, 4),
        "of_datasheet": published and round(setting.peak / published, 4),
        "gigabytes_per_second": round(bandwidth / 1e9, 2),
    }
