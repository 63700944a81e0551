"""What the families of feature networks share: they are trained on nothing here, and measure images of any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from glowdiff.catalog.parse import Settings, defaults
from glowdiff.importers.family import Family
from glowdiff.importers.mapping import Path, Source
from glowdiff.networks.feature_networks import FeatureNetwork
from glowdiff.spec import DataSpec

_NO_DATA = {"name": "unpublished"}


def measuring_family(
    name: str,
    help: str,
    parse: Callable[[Mapping[str, Any]], FeatureNetwork],
    source: Callable[[Any, Path], Source],
    file: Callable[[Path], str] = lambda path: "weights",
    **more: Any,
) -> Family:
    """A family whose flags make the `network` section of method `features`.

    Args:
      name: of the family, and of the section.
      help: what it is.
      parse: see `Family`.
      source: (network, path of one of our arrays, without "params") -> where it comes from.
      file: of a path, the flag of the file that its array comes from.
      **more: other fields of `Family`.
    """

    def spec(network: FeatureNetwork, data: str) -> DataSpec:
        return DataSpec(data, (network.side, network.side, 3), 256, 0, 0, captions=network.captions is not None)

    def settings(network: FeatureNetwork, data: Mapping[str, Any], batch: int) -> Settings:
        config = defaults("features", network=name)
        config.model.network.update(vars(network))
        return config

    def sources(network: FeatureNetwork, paths: list[Path]) -> dict[str, dict[Path, Source]]:
        found: dict[str, dict[Path, Source]] = {}
        for path in paths:
            found.setdefault(file(path[1:]), {})[path] = source(network, path[1:])
        return found

    return Family(
        name=name, help=help, parse=parse, spec=spec, data=lambda *_: _NO_DATA, settings=settings, sources=sources,
        unpublished="It measures images, and is not trained here.", measures=True, **more,
    )  # fmt: skip
