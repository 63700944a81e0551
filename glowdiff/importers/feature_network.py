"""Feature networks by what people call them: a file of a release's weights, what a package holds, or a workdir."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glowdiff.errors import ConfigError, likely, require
from glowdiff.importers.clip_vit import CLIP_VIT
from glowdiff.importers.dinov2 import DINOV2
from glowdiff.importers.efficientnet import EFFICIENTNET
from glowdiff.importers.family import Family, part
from glowdiff.importers.inception import INCEPTION
from glowdiff.metrics.look import Network, digest
from glowdiff.networks.feature_networks import FeatureNetwork
from glowdiff.text.tokenizer import Tokenizer
from glowdiff.trained import Trained, restore

FAMILIES = (INCEPTION, CLIP_VIT, DINOV2, EFFICIENTNET)
# By the words in front of ":": of a release, whose flags are known.
RELEASES: dict[str, Family] = {name: family for family in FAMILIES for name in (family.releases or (family.name,))}


def find(text: str, key: str = "--features", *, captions: bool = False) -> Network:
    """The network that `text` names.

    That is RELEASE:FILE, such as inception:FILE, the release alone where a package holds its weights, a workdir that
    `glowdiff import` wrote, or one of a CLIP that was trained here.

    Args:
      text: as typed.
      key: the flag, for messages.
      captions: whether it must read them.

    Raises:
      ConfigError, WeightsError: there is no such network, or its weights cannot be read.
    """
    if Path(text).expanduser().is_dir():
        found = restore(Path(text).expanduser())
        require(
            found.method.features is not None,
            f"{key} is {text}, a model of method {found.config.method}, which measures no images.",
        )
        return Network(found, named(found))
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
    values = family.releases.get(name, {})
    tokenizer = _tokenizer(family, values, text, key) if captions and family.tokenizer else None
    found = part(family, weights, values, key)._replace(tokenizer=tokenizer)
    return Network(found, named(found))


def _tokenizer(family: Family, values: Mapping[str, Any], text: str, key: str) -> Tokenizer:
    """That of a release, by the vocabulary that a package holds."""
    assert family.tokenizer is not None
    try:
        return family.tokenizer(family.parse(values), None)
    except ConfigError as error:
        raise ConfigError(
            f"{key} is {text}, which is to read captions. {error} What glowdiff import {family.name} --vocab=FILE "
            "wrote holds its own."
        ) from error


def named(part: Trained) -> str:
    """A network's name in those of figures, without what files cannot be called.

    That is its release's, if it is one; of a noise-aware CLIP, of which there is no usual one, its data's with a part
    of the digest of its weights.
    """
    if part.config.method == "clip":
        kind, data = "noised" if part.config.model.noised else "plain", re.sub(r"\W+", "_", part.spec.name)
        return f"{kind}_clip_{data}_{digest(part)[:8]}"
    return released(part.config.model.network)


def released(network: FeatureNetwork) -> str:
    """The name of a published network's release, or of its family.

    >>> released(CLIP_VIT.parse(CLIP_VIT.releases["ViT-L/14@336px"])), released(INCEPTION.parse({}))
    ('clip_vit_l_14_336px', 'inception')
    """
    for family in FAMILIES:
        for release, flags in family.releases.items():
            if family.parse(flags) == network:
                words = release.lower().replace("/", "_").replace("-", "_").replace("@", "_")
                return words if words.startswith(family.name) else f"{family.name}_{words.removeprefix('vit_')}"
    return network.name
