"""What is measured and drawn while a model is trained: the sections `eval` and `pictures`."""

from __future__ import annotations

from dataclasses import dataclass

from glowdiff.config.numbers import CELLS, check_number
from glowdiff.errors import require


@dataclass(frozen=True)
class EvalConfig:
    """What is measured while training."""

    every: int = 1_000  # steps between evaluations on the test set; 0: only at the end
    images: int | None = None  # test images used each time; None: all
    batch: int | None = None  # images per evaluation batch; None: train.batch
    metrics: str = ""  # of samples, as of `evaluate.py --metrics`: fd,kid ...; empty: none
    features: str = ""  # the network that measures them, as of `evaluate.py --features`
    samples: int = 1_000  # that are drawn and measured each time
    metrics_every: int = 10_000  # steps between such measurements; 0: only at the end

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        for key in ("every", "metrics_every"):
            value = getattr(self, key)
            require(value >= 0, f"eval.{key} is {value}; it must be 0 (only at the end) or more.")
        for key in ("images", "batch"):
            value = getattr(self, key)
            require(value is None or value > 0, f"eval.{key} is {value}; it must be positive, or None.")
        check_number("eval.samples", self.samples, low=1)
        require(
            not self.metrics or bool(self.features),
            f"eval.metrics is {self.metrics!r}, but eval.features is empty; it names the network that measures, such "
            "as efficientnet_lite0 or inception:FILE.",
        )
        require(
            not self.features or bool(self.metrics),
            f"eval.features is {self.features!r}, but eval.metrics is empty; it names what is measured: fd, kid ...",
        )


@dataclass(frozen=True)
class PicturesConfig:
    """The pictures of samples drawn while training."""

    every: int = 1_000  # steps between them; 0: only at the end
    images: int = 64  # samples per picture

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        require(self.every >= 0, f"pictures.every is {self.every}; it must be 0 (only at the end) or more.")
        check_number("pictures.images", self.images, low=1)
        check_number("pictures.images", self.images, high=CELLS)
