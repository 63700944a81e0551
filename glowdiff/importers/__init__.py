"""From the names and axes of published checkpoints to our parameters.

Each call takes arrays by the names of the original (TensorFlow's variables, PyTorch's state dict) and the original's
flags, see the module of that name; it returns a module in float32 and its variables, for `module.apply`. Raised are
`ConfigError` for flags that cannot be, and `glowdiff.importers.mapping.WeightsError` for a weight that is missing, not
expected, or of another shape than the flags ask for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from glowdiff.importers import clip_text as clip_texts
from glowdiff.importers import latent_unet as latent_unets
from glowdiff.importers.adm import ADM, enlarging
from glowdiff.importers.clip import CLIP
from glowdiff.importers.clip_vit import CLIP_VIT
from glowdiff.importers.dinov2 import DINOV2
from glowdiff.importers.efficientnet import EFFICIENTNET
from glowdiff.importers.family import load
from glowdiff.importers.glide import GLIDE
from glowdiff.importers.glow import GLOW
from glowdiff.importers.inception import INCEPTION
from glowdiff.importers.lpips import LPIPS
from glowdiff.importers.mapping import Arrays

__all__ = [
    "adm", "clip", "clip_text", "clip_vit", "dinov2", "efficientnet_lite0", "glide", "glow", "inception", "latent_unet",
    "lpips",
]  # fmt: skip
Loaded = tuple[Any, dict[str, Any]]  # module, variables


def glow(weights: Arrays, flags: Mapping[str, Any]) -> Loaded:
    """Glow, for `(x, noise, cond, method="encode")` and `(latents, cond, method="decode")`."""
    return load(GLOW, GLOW.parse(flags), {"weights": weights})


def adm(weights: Arrays, flags: Mapping[str, Any]) -> Loaded:
    """A denoiser, an upsampler or a noisy classifier of ADM or Improved DDPM, for `(x, t, cond)`."""
    return load(ADM, enlarging(ADM.parse(flags)), {"weights": weights})


def glide(weights: Arrays, flags: Mapping[str, Any]) -> Loaded:
    """A denoiser of GLIDE that reads captions, for `(x, t, cond)`."""
    return load(GLIDE, GLIDE.parse(flags), {"weights": weights})


def clip(text_weights: Arrays, image_weights: Arrays, flags: Mapping[str, Any] | None = None) -> Loaded:
    """GLIDE's CLIP, for `(x, t, method="image")` and `(tokens, mask, method="text")`; by default as released."""
    return load(CLIP, CLIP.parse(flags or {}), {"text_weights": text_weights, "image_weights": image_weights})


def inception(weights: Arrays, flags: Mapping[str, Any] | None = None) -> Loaded:
    """FID's Inception, for `(x)`; by default as released."""
    return load(INCEPTION, INCEPTION.parse(flags or {}), {"weights": weights})


def clip_vit(weights: Arrays, flags: Mapping[str, Any]) -> Loaded:
    """CLIP with a Vision Transformer, for `(x)` and `(tokens, method="text")`."""
    return load(CLIP_VIT, CLIP_VIT.parse(flags), {"weights": weights})


def dinov2(weights: Arrays, flags: Mapping[str, Any]) -> Loaded:
    """DINOv2, for `(x)` of any size."""
    return load(DINOV2, DINOV2.parse(flags), {"weights": weights})


def efficientnet_lite0(weights: Arrays, flags: Mapping[str, Any] | None = None) -> Loaded:
    """EfficientNet-Lite0, for `(x)`."""
    return load(EFFICIENTNET, EFFICIENTNET.parse(flags or {}), {"weights": weights})


def latent_unet(weights: Arrays, flags: Mapping[str, Any]) -> Loaded:
    """The UNet of latent diffusion or Stable Diffusion, in the original's layout or diffusers', for `(x, t, cond)`."""
    latent = latent_unets.parse(flags)
    return latent.module(), latent_unets.variables(latent, weights)


def clip_text(weights: Arrays, flags: Mapping[str, Any], clip_skip: int = 1) -> Loaded:
    """A text encoder of Stable Diffusion, for `(tokens, mask)`; see `glowdiff.importers.clip_text.parse`."""
    section = clip_texts.parse(flags, clip_skip)
    module = section.encoder(None, remat=False, dtype=jnp.float32, param_dtype=jnp.float32)
    return module, clip_texts.variables(section, weights)


def lpips(weights: Arrays, linear: Arrays) -> Loaded:
    """LPIPS with VGG16, for `(x, y, method="distance")`."""
    return load(LPIPS, LPIPS.parse({}), {"weights": weights, "linear": linear})
