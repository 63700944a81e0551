"""Feature networks by what people call them: a file of a release's weights, what a package holds, or a workdir."""

from __future__ import annotations

from pathlib import Path

from glowdiff.errors import likely, require
from glowdiff.importers.clip_vit import CLIP_VIT
from glowdiff.importers.dinov2 import DINOV2
from glowdiff.importers.efficientnet import EFFICIENTNET
from glowdiff.importers.family import Family, part
from glowdiff.importers.inception import INCEPTION
from glowdiff.networks.feature_networks import FeatureNetwork
from glowdiff.trained import Trained, restore

FAMILIES = (INCEPTION, CLIP_VIT, DINOV2, EFFICIENTNET)
# By the words in front of ":": of a release, whose flags are known.
RELEASES: dict[str, Family] = {name: family for family in FAMILIES for name in (family.releases or (family.name,))}


def find(text: str, key: str = "--features") -> Trained:
    """The network that `text` names.

    That is RELEASE:FILE, such as inception:FILE, the release alone where a package holds its weights, or a workdir that
    `glowdiff import` wrote.

    Args:
      text: as typed.
      key: the flag, for messages.

    Raises:
      ConfigError, WeightsError: there is no such network, or its weights cannot be read.
    """
    if Path(text).expanduser().is_dir():
        found = restore(Path(text).expanduser())
        require(
            found.method.features is not None,
            f"{key} is {text}, a model of method {found.config.method}, which measures no images.",
        )
        return found
    name, colon, file = text.partition(":")
    hint = "".join(f" Did you mean {close}?" for close in likely(name, RELEASES))
    families = {family.name: family for family in FAMILIES if family.releases}
    if name in families:
        hint = f" Which one is it? {', '.join(families[name].releases)}; or name what glowdiff import {name} wrote."
    require(
        name in RELEASES,
        f"{key} is {text}, which is neither a network nor the workdir of one; networks are {', '.join(RELEASES)}, "
        f"with :FILE of their weights behind.{hint}",
    )
    family = RELEASES[name]
    if not colon and family.packaged:
        weights = family.packaged()
    else:
        require(bool(file), f"{key} is {text}; it must name a file of its weights too: {key}={name}:FILE.")
        weights = Path(file).expanduser()
    return part(family, weights, family.releases.get(name, {}), key)


def named(network: FeatureNetwork) -> str:
    """A network's name in those of figures, without what files cannot be called: its release's, if it is one.

    >>> named(CLIP_VIT.parse(CLIP_VIT.releases["ViT-L/14@336px"])), named(INCEPTION.parse({}))
    ('clip_vit_l_14_336px', 'inception')
    """
    for family in FAMILIES:
        for release, flags in family.releases.items():
            if family.parse(flags) == network:
                words = release.lower().replace("/", "_").replace("-", "_").replace("@", "_")
                return words if words.startswith(family.name) else f"{family.name}_{words.removeprefix('vit_')}"
    return network.name
