"""A CLIP that judges pictures and was never used to guide them: how well they show their captions, how they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import glowdiff
from glowdiff.diffusion.build import clip_module, towers
from glowdiff.diffusion.scaling import to_unit
from glowdiff.errors import ConfigError
from glowdiff.sharding import platform_of

_BATCH = 128  # of every call, so that one program does for all


class Judge:
    """Embeddings, rows of length 1, of clean pictures (t = 0) and of captions."""

    def __init__(self, model: glowdiff.Model) -> None:
        """Of a model of method clip.

        Raises:
          ConfigError: it is of another method.
        """
        if model.config.method != "clip" or model.tokenizer is None:
            raise ConfigError(f"--judge is a run of method {model.config.method}; it must be one of method clip.")
        self._model, self._tokenizer = model, model.tokenizer
        self._context = model.config.model.captions.context
        module = clip_module(model.config.model, model.spec, model.config.dtype, platform=platform_of(model.mesh))
        both, levels = towers(module), model.spec.levels

        def image(variables: Any, images: jax.Array) -> jax.Array:
            x = to_unit(images, levels, both.dtype)
            return both.image(variables, x, jnp.zeros(len(x), both.dtype))

        self._image, self._text = jax.jit(image), jax.jit(both.text)

    def images(self, images: np.ndarray) -> np.ndarray:
        """Embeddings [N, E] of uint8 [N, H, W, C]."""
        return self._batches(self._image, images)

    def captions(self, captions: Sequence[str]) -> np.ndarray:
        """Embeddings [N, E] of N captions; what is too long for its context is cut, as in training."""
        read, _ = self._tokenizer.encode_cut(captions, self._context)
        return self._batches(self._text, read.tokens, read.mask)

    def _batches(self, function: Any, *arrays: np.ndarray) -> np.ndarray:
        n, embeddings = len(arrays[0]), []
        for start in range(0, n, _BATCH):
            rows = np.resize(np.arange(start, min(start + _BATCH, n)), _BATCH)  # repeats fill the last batch
            embeddings.append(np.asarray(function(self._model.variables, *(array[rows] for array in arrays))))
        return np.concatenate(embeddings)[:n]


def ranks(z_images: np.ndarray, z_captions: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The place of each picture's own caption among all captions by cosine, int [N], 1 being the nearest.

    Args:
      z_images: [N, E], of length 1.
      z_captions: [M, E], of length 1.
      own: int [N], rows of `z_captions`.
    """
    cosines = z_images @ z_captions.T
    mine = cosines[np.arange(len(own)), own]
    return 1 + (cosines > mine[:, None]).sum(1)


def agreement(z_images: np.ndarray, z_captions: np.ndarray, own: np.ndarray) -> dict[str, float]:
    """How near pictures are to their captions; arguments as of `ranks`."""
    places = ranks(z_images, z_captions, own)
    return {
        "median rank": float(np.median(places)),
        "first": float((places == 1).mean()),
        "among 10": float((places <= 10).mean()),
        "cosine": float((z_images * z_captions[own]).sum(-1).mean()),
    }


def diversity(z_images: np.ndarray) -> float:
    """Mean 1 - cosine between two pictures of one caption.

    Args:
      z_images: [P, K, E] of K pictures of each of P captions, of length 1.
    """
    count = z_images.shape[1]
    cosines = np.einsum("pie,pje->pij", z_images, z_images)
    others = cosines.sum((1, 2)) - np.trace(cosines, axis1=1, axis2=2)
    return float(1 - others.mean() / (count * (count - 1)))


def kernel_distance(z: np.ndarray, others: np.ndarray) -> float:
    """Squared maximum mean discrepancy of two sets of pictures, [N, E] and [M, E], times 1,000.

    The kernel is the kernel Inception distance's (Binkowski et al., 2018, section 4), (x y / E + 1)^3 of features x and
    y of variance 1, so that x y / E is their cosine. Unlike Frechet's distance it has no bias where pictures are few;
    it may come out below 0.
    """

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T + 1) ** 3

    def within(a: np.ndarray) -> float:
        between = kernel(a, a)
        return float((between.sum() - np.trace(between)) / (len(a) * (len(a) - 1)))

    return 1000 * (within(z) + within(others) - 2 * float(kernel(z, others).mean()))
