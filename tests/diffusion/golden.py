"""The golden numbers of the original processes, in NHWC."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tests import small

NAMES = ("diffusion_linear_1000", "diffusion_cosine_250", "diffusion_linear_ddim25")
PREDICTIONS = ("eps", "x_0")
VARIANCES = ("learned", "fixed_small", "fixed_large")


class Golden:
    """One file; images are [4, 8, 8, C]."""

    def __init__(self, name: str):
        with np.load(small.ROOT / "tests" / "golden" / f"{name}.npz", allow_pickle=False) as file:
            arrays = dict(file)
        self.config: dict[str, Any] = json.loads(str(arrays.pop("spec")))["config"]
        self.arrays = {key: np.moveaxis(array, 1, -1) if array.ndim == 4 else array for key, array in arrays.items()}

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def output(self, variance: str) -> np.ndarray:
        """What the network is pretended to return."""
        return self["in_model_output"] if variance == "learned" else self["in_model_output"][..., :3]

    def of(self, prediction: str, variance: str) -> dict[str, np.ndarray]:
        """What depends on the prediction and the variance, by its short name."""
        start = f"out_{prediction.replace('_', '')}_{'learned_range' if variance == 'learned' else variance}_"
        return {key.removeprefix(start): array for key, array in self.arrays.items() if key.startswith(start)}
