"""Figures of sets of images by one network: what `glowdiff evaluate --metrics` and evaluations in training share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from glowdiff.errors import require
from glowdiff.metrics import figures, reference
from glowdiff.metrics.features import Batches
from glowdiff.metrics.figures import Measured
from glowdiff.metrics.images import Images
from glowdiff.metrics.look import Look, Network
from glowdiff.metrics.reference import Reference


class Figure(NamedTuple):
    """A number, and what it means."""

    short: str  # as of `glowdiff.metrics.figures.METRICS`
    name: str  # with its convention; two figures of one name may be compared
    value: float
    convention: str  # the rest of it, in words


class Measurement:
    """Metrics of any sets of samples, by one network, beside one reference.

    Attributes:
      metrics: by name.
      look: the network, compiled once for all sets of one size.
      network: its name in those of figures.
      wanted: what must be known of the reference.
    """

    def __init__(
        self,
        metrics: str,
        network: Network,
        *,
        prepare: str | None = None,
        batch: int = 64,
        key: str = "--metrics",
        named_by: str = "--features",
    ) -> None:
        """Of what a person asks for.

        Args:
          metrics: their names, such as "fid,prdc".
          network: that measures.
          prepare: how images become what it takes; None: its usual way.
          batch: images at a time.
          key: the flag or key that names the metrics, for messages,
          named_by: and the one that names the network.

        Raises:
          ConfigError: there is no such metric, or it is not defined of this network.
        """
        self.metrics = figures.chosen(metrics, key)
        figures.check_network(self.metrics, network.part.config.model.network.name, key, named_by)
        assert network.part.method.features is not None
        main = network.part.method.features.main
        self.needed = figures.needs(self.metrics, main)
        self.wanted = figures.needs(self.metrics, main, reference=True)
        names = dict.fromkeys(name for needs in (self.needed, self.wanted) for name in needs.gaussians + needs.features)
        self.look, self.network = Look(network.part, list(names), prepare, batch), network.name
        self._known: Measured | None = None
        self._reference = ""  # its name

    @property
    def compares(self) -> bool:
        """Whether there must be a reference."""
        return any(metric.compares for metric in self.metrics.values())

    def check(self, samples: Images, what: str = "the samples") -> None:
        """Raise `ConfigError` if samples, called `what`, cannot be measured: too few, of another size, no captions."""
        figures.check_count(self.metrics, samples.number, what)
        self.look.check_size(samples)
        require(
            samples.captions is not None or not self.needed.captions,
            f"clip_score compares samples with their captions, but {samples.about} has none.",
        )

    def check_reference(self, found: Reference, size: tuple[int, int]) -> None:
        """Raise `ConfigError` if samples of some height and width cannot be compared with a reference."""
        if found.images is None:
            return
        shape = found.images.shape
        require(
            shape == size,
            f"the reference {found.images.about} has images of {shape[0]}x{shape[1]} pixels, but the samples have "
            f"{size[0]}x{size[1]}; resizing would be measured too.",
        )
        figures.check_count(self.metrics, found.images.number, "the reference's images", reference=True)

    def compare(self, found: Reference, folder: Path) -> None:
        """Look at the reference, of which what is seen is kept in a folder; every process must call it.

        Raises:
          ConfigError: features of some images are not finite.
        """
        self._known = reference.measured(found, self.wanted, self.look, folder)
        self._reference = found.name

    def __call__(self, samples: Images, batches: Batches | None = None) -> list[Figure]:
        """The figures of samples, once the reference is known if there must be one; every process must call it.

        Args:
          samples: as of `check`.
          batches: of them, if they have been begun.

        Raises:
          ConfigError: features of some of them are not finite.
        """
        assert self._known is not None or not self.compares
        seen = self.look(samples, self.needed, "measuring samples", batches)
        found = figures.figures(self.metrics, self.look.main, seen, self._known)
        return [
            Figure(short, self._full(short, metric, samples), value, metric.conventions[short])
            for name, metric in self.metrics.items()
            for short, value in found[name].items()
        ]

    def _full(self, short: str, metric: figures.Metric, samples: Images) -> str:
        beside: Any = ""
        if metric.compares:
            beside = f"vs_{self._reference}"
        elif metric.other == figures.CAPTIONS and samples.captions:
            beside = f"of_{samples.captions.name}"
        return figures.full_name(short, self.network, self.look.prepare, samples.number, beside)
