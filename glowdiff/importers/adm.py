"""The published checkpoints of ADM and Improved DDPM (PyTorch), key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glowdiff.importers import adm_flags
from glowdiff.importers.mapping import Path, Source
from glowdiff.importers.network_flags import Flags
from glowdiff.importers.unet_keys import (
    UNET_END,
    backbone_sources,
    expected_shapes,
    from_shapes,
    from_weights,
    paths_of,
)
from glowdiff.networks.classifier import Classifier
from glowdiff.networks.unet import UNet

# Our layers behind the last block and the original's, by the classifier's pool.
_ENDS = {
    "adaptive": {"norm_out": "out.0", "logits": "out.3"},
    "attention": {"norm_out": "out.0", "pool.qkv": "out.2.qkv_proj", "pool.proj_out": "out.2.c_proj"},
    "spatial": {"hidden": "out.0", "logits": "out.2"},
    "spatial_v2": {"hidden": "out.0", "norm_out": "out.1", "logits": "out.3"},
}
_OTHERS: dict[Path, Source] = {
    ("params", "label_embed", "embedding"): Source(("label_emb.weight",), np.asarray),
    ("params", "pool", "positional_embedding"): Source(("out.2.positional_embedding",), np.transpose),
}


def adm(weights: Mapping[str, np.ndarray], flags: Mapping[str, Any]) -> tuple[UNet | Classifier, dict]:
    """A denoiser's, an upsampler's or a noisy classifier's weights as our module and variables.

    Args:
      weights: arrays by the keys of the original's state dict.
      flags: the original's, see `glowdiff.importers.adm_flags`.

    Returns:
      The module and `{"params"}` for `module.apply(variables, x, t, cond)`.

    Raises:
      ConfigError: the flags cannot be.
      WeightsError: a weight is missing, not expected, or of another shape than the flags ask for.
    """
    module, sources, expected = _parts(flags)
    return module, from_weights(weights, sources, expected)


def check_adm(shapes: Mapping[str, tuple[int, ...]], flags: Mapping[str, Any]) -> tuple[UNet | Classifier, dict]:
    """As `adm`, of the weights' shapes alone and without their memory: the variables are `jax.ShapeDtypeStruct`s."""
    module, sources, expected = _parts(flags)
    return module, from_shapes(shapes, sources, expected)


def adm_module(flags: Flags) -> UNet | Classifier:
    """The network of these flags, in the originals' arithmetic (float32)."""
    return Classifier(**flags.network) if flags.kind == "classifier" else UNet(**flags.network)


def _parts(flags: Mapping[str, Any]) -> tuple[UNet | Classifier, dict[Path, Source], Any]:
    """The module, where its variables come from, and their shapes."""
    parsed = adm_flags.parse(flags)
    module = adm_module(parsed)
    expected = expected_shapes(module, parsed.in_channels)
    paths = paths_of(expected)
    ends = _ENDS[module.pool] if isinstance(module, Classifier) else UNET_END
    sources = backbone_sources([path for path in paths if path not in _OTHERS], ends)
    return module, sources | {path: _OTHERS[path] for path in paths if path in _OTHERS}, expected
