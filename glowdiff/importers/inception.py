"""FID's Inception of December 2015, as pytorch-fid saved it: `pt_inception-2015-12-05-6726825d.pth`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glowdiff.importers.flags import require_positive, values
from glowdiff.importers.mapping import Arrays, Path, Source, WeightsError, conv, matrix
from glowdiff.importers.measuring import measuring_family
from glowdiff.networks.feature_networks import FIDInception

_DEFAULTS = {"outputs": 1_008, "bn_eps": 1e-3}
_LEAVES = {
    "kernel": "conv.weight", "scale": "bn.weight", "bias": "bn.bias", "mean": "bn.running_mean",
    "variance": "bn.running_var",
}  # fmt: skip


def parse(flags: Mapping[str, Any]) -> FIDInception:
    """See `Family.parse`; there is but one release."""
    read = values(flags, _DEFAULTS)
    require_positive(read, "outputs", "bn_eps")
    return FIDInception("inception", read["outputs"], read["bn_eps"])


def _source(network: FIDInception, path: Path) -> Source:
    if path[0].startswith("fc_"):
        kernel = path[0] == "fc_kernel"
        return Source(("fc.weight" if kernel else "fc.bias",), matrix if kernel else np.asarray)
    return Source((".".join((*path[:-1], _LEAVES[path[-1]])),), conv if path[-1] == "kernel" else np.asarray)


def _renamed(network: FIDInception, weights: Arrays) -> Arrays:
    """As they are, unless they are torchvision's.

    Raises:
      WeightsError: they are.
    """
    classes = weights["fc.weight"].shape[0] if "fc.weight" in weights else 0
    if any(name.startswith("AuxLogits.") for name in weights) or classes == 1_000 != network.outputs:
        raise WeightsError(
            "These are the weights of torchvision's Inception v3, another network than FID's: it was trained anew, has "
            "1,000 classes where FID's has 1,008, and other poolings. Distances in its features are no FID. FID's are "
            "in the file pt_inception-2015-12-05-6726825d.pth, which the package pytorch-fid fetches."
        )
    return weights


INCEPTION = measuring_family(
    "inception", "the Inception of FID (PyTorch)", parse, _source, complete=True, unused=r".*\.num_batches_tracked",
    renamed=_renamed, flags="outputs and bn_eps; default: the release's",
)  # fmt: skip
