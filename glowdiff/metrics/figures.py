"""Distances and scores by name: what each needs of samples and reference, and the convention that it follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from glowdiff.errors import ConfigError, require, require_choice
from glowdiff.metrics.clip_score import cosines, unit
from glowdiff.metrics.discrepancy import cmmd, kid
from glowdiff.metrics.frechet import frechet_distance, frechet_infinity
from glowdiff.metrics.inception_score import inception_score, inception_score_of_parts
from glowdiff.metrics.moments import Gaussian
from glowdiff.metrics.neighbours import neighbourhoods
from glowdiff.networks.feature_networks import FEATURE_NETWORKS

OWN_CLIP = "clip"  # the network of method clip, trained here
NETWORKS = (*(name for name, network in FEATURE_NETWORKS.items() if network.main), OWN_CLIP)
GAUSSIAN, FEATURES, CAPTIONS = "gaussian", "features", "captions"
_INCEPTION = ("inception",)
_OTHERS = tuple(name for name in NETWORKS if name not in _INCEPTION)
_PARTS, _SUBSET = 10, 1_000  # of an Inception score; images of each of KID's subsets
_NEAR, _COVERING = 3, 5  # neighbours: of precision and recall, of density and coverage
_POINTS, _SMALLEST = 15, 5_000  # numbers of images of FID-infinity, from that one on


class Needs(NamedTuple):
    """What must be known of a set of images."""

    gaussians: tuple[str, ...] = ()  # features whose mean and covariance are
    features: tuple[str, ...] = ()  # features of every image
    captions: bool = False  # what the network reads in every image's caption


class Measured(NamedTuple):
    """What a network saw in a set of images."""

    gaussians: dict[str, Gaussian]  # by feature
    features: dict[str, np.ndarray]  # by feature [N, D]
    captions: np.ndarray | None = None  # [N, D], what it read


class Metric(NamedTuple):
    """A figure, or several that are computed at once."""

    conventions: Mapping[str, str]  # by the names of its figures
    # (what is known of the samples, and what they are compared with or None) -> figures by name
    compute: Callable[[Any, Any], dict[str, float]]
    feature: str = ""  # that it is of; empty: the network's main one
    samples: str = FEATURES  # what it takes of them: every image's FEATURES [N, D], or their GAUSSIAN,
    other: str = FEATURES  # and what of the reference, likewise; or of the samples' CAPTIONS; or "", nothing
    networks: tuple[str, ...] = NETWORKS  # of which it is defined
    least: int = 2  # samples,
    real: int = 2  # and images of the reference

    @property
    def compares(self) -> bool:
        """Whether there must be a reference."""
        return self.other in (GAUSSIAN, FEATURES)


def _frechet(name: str) -> Callable[[Gaussian, Gaussian], dict[str, float]]:
    return lambda samples, reference: {name: frechet_distance(samples, reference)}


def _infinity(name: str) -> Callable[[np.ndarray, Gaussian], dict[str, float]]:
    def compute(samples: np.ndarray, reference: Gaussian) -> dict[str, float]:
        return {name: frechet_infinity(samples, reference, points=_POINTS, smallest=_SMALLEST)}

    return compute


def _inception_score(logits: np.ndarray, _: None) -> dict[str, float]:
    score = inception_score(logits, splits=_PARTS)
    return {"is": score.mean, "is_deviation": score.deviation}


def _inception_score_of_parts(logits: np.ndarray, _: None) -> dict[str, float]:
    return {"is_adm": inception_score_of_parts(logits).mean}


def _kid(samples: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    score = kid(samples, reference)
    return {"kid": score.mean, "kid_deviation": score.deviation}


def _neighbours(samples: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    near = neighbourhoods(reference, samples, k=_NEAR)
    covering = neighbourhoods(reference, samples, k=_COVERING, closed=False)
    return {
        "precision": near.precision, "recall": near.recall, "density": covering.density, "coverage": covering.coverage,
    }  # fmt: skip


_FRECHET = "squared Fréchet distance, covariances over n - 1"
_INFINITY = f"the same for infinitely many samples, by a line through {_POINTS} numbers of them"
_OF_LOGITS = f"{_PARTS} parts of the samples, logits of 1,008 classes"
_KID = f"unbiased, cubic kernel, 100 subsets of {_SUBSET:,}; not times 1,000"
_CLOSED, _OPEN = f"k = {_NEAR}, closed balls", f"k = {_COVERING}, open balls"
METRICS = {
    "fid": Metric({"fid": _FRECHET}, _frechet("fid"), samples=GAUSSIAN, other=GAUSSIAN, networks=_INCEPTION),
    "sfid": Metric(
        {"sfid": f"{_FRECHET}, of 7 channels of a map"}, _frechet("sfid"), "spatial", GAUSSIAN, GAUSSIAN, _INCEPTION
    ),
    "fid_infinity": Metric(
        {"fid_infinity": _INFINITY}, _infinity("fid_infinity"), other=GAUSSIAN, networks=_INCEPTION,
        least=_SMALLEST + 1,
    ),
    "fd": Metric({"fd": f"{_FRECHET}; no FID"}, _frechet("fd"), samples=GAUSSIAN, other=GAUSSIAN, networks=_OTHERS),
    "fd_infinity": Metric(
        {"fd_infinity": f"{_INFINITY}; no FID"}, _infinity("fd_infinity"), other=GAUSSIAN, networks=_OTHERS,
        least=_SMALLEST + 1,
    ),
    "is": Metric(
        {"is": _OF_LOGITS, "is_deviation": "of the same"}, _inception_score, "logits", other="", networks=_INCEPTION,
        least=_PARTS,
    ),
    "is_adm": Metric(
        {"is_adm": "parts of 5,000 samples, logits without bias"}, _inception_score_of_parts, "logits_unbiased",
        other="", networks=_INCEPTION, least=1,
    ),
    "kid": Metric({"kid": _KID, "kid_deviation": "of the subsets"}, _kid, least=_SUBSET, real=_SUBSET),
    "prdc": Metric(
        {"precision": _CLOSED, "recall": _CLOSED, "density": _OPEN, "coverage": _OPEN}, _neighbours,
        least=_COVERING + 1, real=_COVERING + 1,
    ),
    "cmmd": Metric(
        {"cmmd": "biased, sigma 10, times 1,000"}, lambda one, other: {"cmmd": cmmd(unit(one), unit(other))},
        networks=("clip_vit",), least=1, real=1,
    ),
    "clip_score": Metric(
        {"clip_score": "mean cosine of samples and their captions; not times 100"},
        lambda images, texts: {"clip_score": float(cosines(images, texts).mean())}, other=CAPTIONS,
        networks=("clip_vit", OWN_CLIP), least=1,
    ),
}  # fmt: skip


def chosen(text: str, key: str = "--metrics") -> dict[str, Metric]:
    """The metrics that a text names, such as "fid,prdc"; `key` is where it stands, for messages.

    Raises:
      ConfigError: there is no such metric.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    require(bool(names), f"{key} is empty; it must name some of {', '.join(METRICS)}, with commas in between.")
    for name in names:
        require_choice(key, name, METRICS)
    return {name: METRICS[name] for name in names}


def check_network(
    metrics: Mapping[str, Metric], network: str, key: str = "--metrics", named_by: str = "--features"
) -> None:
    """Raise `ConfigError` if one of the metrics is not of this network; keys are those that name both, for messages."""
    for name, metric in metrics.items():
        if network not in metric.networks:
            raise ConfigError(f"{key} has {name}, {_reason(name, network, named_by)}")


def _reason(name: str, network: str, named_by: str) -> str:
    other = name.replace("fd", "fid", 1)
    if other in METRICS and other != name:
        return f"which is what the distance is called of other networks; of FID's Inception it is {other}."
    other = name.removeprefix("s").replace("fid", "fd", 1)
    instead = f" The same distance in its features is {other}." if other in METRICS and other != name else ""
    known = {"inception": "FID's Inception", "clip_vit": "a published CLIP", OWN_CLIP: "a CLIP trained here"}
    whose = " or ".join(known[each] for each in METRICS[name].networks)
    return f"which is defined of {whose} alone, but {named_by} names {known.get(network, network)}.{instead}"


def needs(metrics: Mapping[str, Metric], main: str, *, reference: bool = False) -> Needs:
    """What must be known of the samples; or of the reference."""
    kinds = [(each.other if reference else each.samples, each.feature or main) for each in metrics.values()]
    gaussians, features = (
        tuple(dict.fromkeys(feature for kind, feature in kinds if kind == wanted)) for wanted in (GAUSSIAN, FEATURES)
    )
    return Needs(gaussians, features, reads_captions(metrics) and not reference)


def reads_captions(metrics: Mapping[str, Metric]) -> bool:
    """Whether one of the metrics is of the samples' captions too."""
    return any(each.other == CAPTIONS for each in metrics.values())


def check_count(metrics: Mapping[str, Metric], count: int, what: str, *, reference: bool = False) -> None:
    """Raise `ConfigError` for too few images; `what` says which, such as "the samples"."""
    for name, metric in metrics.items():
        least, asked = (metric.real, metric.compares) if reference else (metric.least, True)
        require(not asked or count >= least, f"{what} are {count:,}, but {name} needs at least {least:,}.")


def figures(
    metrics: Mapping[str, Metric], main: str, samples: Measured, reference: Measured | None
) -> dict[str, dict[str, float]]:
    """The figures of each metric; every process must call it."""
    return {name: _figures(metric, metric.feature or main, samples, reference) for name, metric in metrics.items()}


def _figures(metric: Metric, feature: str, samples: Measured, reference: Measured | None) -> dict[str, float]:
    def known(kind: str, of: Measured | None) -> Gaussian | np.ndarray:
        assert of is not None
        return of.gaussians[feature] if kind == GAUSSIAN else of.features[feature]

    other = samples.captions if metric.other == CAPTIONS else None
    return metric.compute(known(metric.samples, samples), known(metric.other, reference) if metric.compares else other)


def full_name(figure: str, network: str, prepare: str, samples: int, beside: str = "") -> str:
    """A figure's name with its convention.

    >>> full_name("fid", "inception", "tensorflow", 50_000, "vs_VIRTUAL_imagenet64")
    'fid_inception_tensorflow_50k_vs_VIRTUAL_imagenet64'
    >>> full_name("is", "inception", "tensorflow", 1_234)
    'is_inception_tensorflow_1234'
    """
    count = f"{samples // 1_000}k" if samples % 1_000 == 0 else str(samples)
    return "_".join([figure, network, prepare, count, *([beside] if beside else [])])
