"""Glow in normflows (Stimper et al., 2023), a library for PyTorch: its own Glow example, without labels."""

from __future__ import annotations

import math
import time
from typing import Any

import normflows as nf  # pyright: ignore[reportMissingImports]
import numpy as np
import torch  # pyright: ignore[reportMissingImports]

LEARNING_RATE = 1e-3


def build(shape: tuple[int, int, int], levels: int, depth: int, width: int) -> Any:
    """A multiscale flow of affine Glow blocks with LU-parameterised 1x1 convolutions, as in the library's example.

    Args:
      shape: height, width, channels.
      levels: scales.
      depth: blocks per scale.
      width: hidden channels.
    """
    height, side, channels = shape
    base, flows, merges = [], [], []
    for level in range(levels):  # the top one first
        blocks = [nf.flows.GlowBlock(channels * 2 ** (levels + 1 - level), width, use_lu=True) for _ in range(depth)]
        flows.append([*blocks, nf.flows.Squeeze()])
        if level:
            merges.append(nf.flows.Merge())
        factor = 2 ** (levels - level)
        features = channels * factor * (1 if level else 2)
        base.append(nf.distributions.DiagGaussian((features, height // factor, side // factor)))
    return nf.MultiscaleFlow(base, flows, merges, class_cond=False)


class NormflowsGlow:
    """Training, scoring and sampling; images are uint8 [B, H, W, C] as everywhere here."""

    def __init__(
        self, shape: tuple[int, int, int], bins: int, *, levels: int, depth: int, width: int, decay: float, seed: int
    ) -> None:
        torch.manual_seed(seed)
        self._model, self._bins, self._decay, self._steps = build(shape, levels, depth, width), bins, decay, 0
        self._optimizer = torch.optim.Adamax(self._model.parameters(), lr=LEARNING_RATE)
        self._average = [parameter.detach().clone() for parameter in self._model.parameters()]

    @property
    def parameters(self) -> int:
        """Trained numbers in all."""
        return sum(parameter.numel() for parameter in self._model.parameters())

    def step(self, images: np.ndarray) -> float:
        """One optimiser step; seconds that it took, the averaging of weights left out (it is not the library's)."""
        start = time.perf_counter()
        x = self._dequantize(images, torch.rand(len(images), images.shape[3], *images.shape[1:3]))
        loss = self._model.forward_kld(x)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        loss.item()
        seconds = time.perf_counter() - start
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))  # as in glowdiff
        self._steps += 1
        with torch.no_grad():
            torch._foreach_lerp_(self._average, [p.detach() for p in self._model.parameters()], 1 - decay)
        return seconds

    def bits_per_dim(self, images: np.ndarray, noise: np.ndarray, *, averaged: bool) -> float:
        """Mean over images with dequantisation noise in [0, 1), of the last or the averaged weights."""
        own = [parameter.detach().clone() for parameter in self._model.parameters()]
        with torch.no_grad():
            if averaged:
                self._load(self._average)
            x = self._dequantize(images, torch.from_numpy(noise.transpose(0, 3, 1, 2)))
            log_density = self._model.log_prob(x, None).double().mean().item()
            self._load(own)
        return math.log2(self._bins) - log_density / (math.log(2) * math.prod(images.shape[1:]))

    def sample(self, n: int) -> np.ndarray:
        """Images uint8 [n, H, W, C]."""
        with torch.no_grad():
            x, _ = self._model.sample(n)
            pixels = torch.clamp(torch.floor(x * self._bins), 0, self._bins - 1).to(torch.uint8)
        return pixels.numpy().transpose(0, 2, 3, 1)

    def _dequantize(self, images: np.ndarray, noise: Any) -> Any:
        return (torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32)) + noise) / self._bins

    def _load(self, values: list[Any]) -> None:
        for parameter, value in zip(self._model.parameters(), values, strict=True):
            parameter.copy_(value)
