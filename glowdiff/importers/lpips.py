"""LPIPS: VGG16 as torchvision saves it, and the weights of its channels (richzhang/PerceptualSimilarity, v0.1, vgg)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from glowdiff.importers.family import File
from glowdiff.importers.flags import values
from glowdiff.importers.mapping import Arrays, Path, Source, conv
from glowdiff.importers.measuring import measuring_family
from glowdiff.networks.feature_networks import PerceptualVGG
from glowdiff.networks.lpips import STAGES

# In files of VGG16, of LPIPS, and of first stages, which hold both behind `loss.perceptual_loss.`.
_CONVOLUTION = re.compile(r"(?:.*\.)?(?:features|net\.slice\d)\.(\d+)\.(weight|bias)")
_WEIGHTS = re.compile(r"(?:.*\.)?lin(\d)\.model\.1\.weight")


def parse(flags: Mapping[str, Any]) -> PerceptualVGG:
    """See `Family.parse`; there is but one release."""
    values(flags, {})
    return PerceptualVGG("lpips")


def _source(network: PerceptualVGG, path: Path) -> Source:
    if path[0].startswith("weights_"):
        return Source((f"lin{path[0][-1]}.model.1.weight",), np.ravel)
    stage, number = (int(each) for each in path[0].split("_")[1:])
    # In torchvision's sequence every convolution is followed by a ReLU, and every stage but the last by a pooling.
    place = 2 * (sum(map(len, STAGES[:stage])) + number) + stage
    kernel = path[1] == "kernel"
    return Source((f"features.{place}.{'weight' if kernel else 'bias'}",), conv if kernel else np.asarray)


def _renamed(network: PerceptualVGG, weights: Arrays) -> Arrays:
    """By the names of torchvision and of LPIPS's own files; whatever else there is keeps its name."""
    renamed: dict[str, np.ndarray] = {}
    for name, array in weights.items():
        if match := _CONVOLUTION.fullmatch(name):
            name = f"features.{match[1]}.{match[2]}"
        elif match := _WEIGHTS.fullmatch(name):
            name = f"lin{match[1]}.model.1.weight"
        renamed[name] = array
    return renamed


LPIPS = measuring_family(
    "lpips", "LPIPS, on which autoencoders are trained (PyTorch)", parse, _source,
    file=lambda path: "linear" if path[0].startswith("weights_") else "weights",
    files=(
        File("weights", "VGG16's state dict: vgg16-397923af.pth of torchvision, or a file that holds all", "VGG16"),
        File("linear", "the channels' weights: weights/v0.1/vgg.pth of LPIPS, or a file that holds all", "LPIPS"),
    ),
    complete=True, unused=r".*", renamed=_renamed, flags="none; there is but one release",
)  # fmt: skip
