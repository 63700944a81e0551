"""`eval.metrics`: what `glowdiff evaluate --metrics` says of samples, while a model is trained."""

from __future__ import annotations

import math

import jax
import numpy as np

from glowdiff.data.store import data_dir
from glowdiff.errors import require
from glowdiff.inference.drawer import Drawer, Samples
from glowdiff.method import Variables, conditions_of
from glowdiff.metrics import images, reference
from glowdiff.metrics.drawn import Stream, shuffled
from glowdiff.metrics.images import Captions, Images
from glowdiff.metrics.look import Network
from glowdiff.metrics.measurement import Figure, Measurement
from glowdiff.training.experiment import Experiment

_KEY = "eval.metrics"


class Measuring:
    """Measures samples of a model in training against its training split, each time of the same noise.

    Sample i is that of `glowdiff sample --seed=SEED` with the configuration's seed. What samples are told but labels,
    which are drawn, is that of test images in turns: captions, small images, images with erased regions.
    """

    def __init__(self, experiment: Experiment, network: Network | None) -> None:
        """Of a configuration that names metrics; whatever is wrong with them is said here.

        Args:
          experiment: whose samples are measured.
          network: that of `eval.features`.

        Raises:
          ConfigError: the model draws no samples, or no pictures, or the metrics cannot be measured of them.
        """
        config, spec = experiment.config, experiment.dataset.spec
        require(
            network is not None,
            f"eval.features is {config.eval.features!r}, but train() was given no network; pass "
            "network=glowdiff.importers.feature_network.find(config.eval.features).",
        )
        assert network is not None
        require(
            experiment.method.draws is not None,
            f"{_KEY} is {config.eval.metrics!r}, but a model of method {config.method} draws no samples.",
        )
        images.check_channels(f"{_KEY} measures images of {spec.name}, each of which", spec.shape[-1])
        number = config.eval.samples
        batch = min(config.eval.batch or config.train.batch, number)
        self._measurement = Measurement(config.eval.metrics, network, batch=batch, key=_KEY, named_by="eval.features")
        self._experiment, self._order = experiment, shuffled(len(experiment.dataset.test))
        takes = experiment.method.takes
        self._told = any((each.of_data and each.shape) or each.of_images for each in takes)
        self._samples = Images(
            "samples", f"a model of method {config.method}", number, spec.shape[:2], lambda _: iter(()),
            captions=self._captions(),
        )  # fmt: skip
        self._measurement.check(self._samples, f"{_KEY} is {config.eval.metrics!r}: eval.samples")
        if self._measurement.compares:
            loaded = experiment.dataset if experiment.latents is None else None  # else it holds no training images
            train = images.of_data(config.data, self._measurement.look.mesh, _KEY, loaded=loaded)
            self._reference = reference.of_images(train)
            self._measurement.check_reference(self._reference, spec.shape[:2])

    def look_at_reference(self) -> None:
        """Learn what the training split looks like to the network, unless that is known already.

        Raises:
          ConfigError: features of some images are not finite.
        """
        if self._measurement.compares:
            folder = data_dir(self._experiment.config.data.dir) / "statistics"
            self._measurement.compare(self._reference, folder)

    def __call__(self, drawer: Drawer, variables: Variables) -> tuple[list[Figure], int]:
        """The figures of samples, and how many of these were not finite; every process must call it.

        With any that is not finite there is no figure: all are NaN.
        """
        config = self._experiment.config

        def draw(keys: jax.Array, rows: np.ndarray) -> Samples:
            cond, n = self._conditions(rows), len(rows)
            return drawer(variables, keys, n, cond=cond, options=config.sampling, batch=n, allow_nonfinite=True)

        stream = Stream(draw, self._experiment.dataset.spec, config.seed, self._samples.number, allow_nonfinite=True)
        found = self._measurement(self._samples, stream.batches(self._measurement.look.batch))
        if stream.lost:
            found = [figure._replace(value=math.nan) for figure in found]
        return found, stream.lost

    def _captions(self) -> Captions | None:
        """What the samples are to show, if the model reads any."""
        dataset, number = self._experiment.dataset, self._experiment.config.eval.samples
        if self._experiment.config.model.captions is None:
            return None
        texts = list(dataset.test.captions or ())
        turns = [texts[self._order[row % len(texts)]] for row in range(number)]
        return Captions(f"{dataset.spec.name}_test", turns)

    def _conditions(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """What samples are told, by their numbers; the same in every process."""
        if not self._told:
            return {}
        test = self._order[rows % len(self._order)]
        examples = [self._experiment.dataset.test[int(row)] for row in test]
        cond = jax.tree.map(lambda *each: np.stack(each), *(example["cond"] for example in examples))
        batch = {"image": np.stack([example["image"] for example in examples]), "cond": cond, "index": test}
        made = conditions_of(self._experiment.method.takes, batch)
        return {name: np.asarray(array) for name, array in made.items()}
