"""Distances and scores by name: what each needs of samples and reference, and the convention that it follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from glowdiff.errors import ConfigError, require, require_choice
from glowdiff.metrics.clip_score import unit
from glowdiff.metrics.discrepancy import cmmd, kid
from glowdiff.metrics.frechet import frechet_distance
from glowdiff.metrics.inception_score import inception_score, inception_score_of_parts
from glowdiff.metrics.moments import Gaussian
from glowdiff.metrics.neighbours import neighbourhoods
from glowdiff.networks.feature_networks import FEATURE_NETWORKS

_OF_SETS = tuple(name for name, network in FEATURE_NETWORKS.items() if network.main)
_INCEPTION = ("inception",)
_PARTS, _SUBSET = 10, 1_000  # of an Inception score; images of each of KID's subsets
_NEAR, _COVERING = 3, 5  # neighbours: of precision and recall, of density and coverage


class Needs(NamedTuple):
    """What must be known of a set of images."""

    gaussians: tuple[str, ...]  # features whose mean and covariance are
    features: tuple[str, ...]  # features of every image


class Measured(NamedTuple):
    """What a network saw in a set of images."""

    gaussians: dict[str, Gaussian]  # by feature
    features: dict[str, np.ndarray]  # by feature [N, D]


class Metric(NamedTuple):
    """A figure, or several that are computed at once."""

    conventions: Mapping[str, str]  # by the names of its figures
    # (what is known of the samples, and of the reference or None) -> figures by name; a Gaussian or features [N, D]
    compute: Callable[[Any, Any], dict[str, float]]
    feature: str = ""  # that it is of; empty: the network's main one
    gaussian: bool = False  # it is of mean and covariance, not of every image's features
    compares: bool = True  # samples with a reference
    networks: tuple[str, ...] = _OF_SETS  # of which it is defined
    least: int = 2  # images of either set


def _frechet(name: str) -> Callable[[Gaussian, Gaussian], dict[str, float]]:
    return lambda samples, reference: {name: frechet_distance(samples, reference)}


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
_OF_LOGITS = f"{_PARTS} parts of the samples, logits of 1,008 classes"
_KID = f"unbiased, cubic kernel, 100 subsets of {_SUBSET:,}; not times 1,000"
_CLOSED, _OPEN = f"k = {_NEAR}, closed balls", f"k = {_COVERING}, open balls"
METRICS = {
    "fid": Metric({"fid": _FRECHET}, _frechet("fid"), gaussian=True, networks=_INCEPTION),
    "sfid": Metric(
        {"sfid": f"{_FRECHET}, of 7 channels of a map"}, _frechet("sfid"), "spatial", gaussian=True, networks=_INCEPTION
    ),
    "fd": Metric(
        {"fd": f"{_FRECHET}; no FID"}, _frechet("fd"), gaussian=True,
        networks=tuple(name for name in _OF_SETS if name not in _INCEPTION),
    ),
    "is": Metric(
        {"is": _OF_LOGITS, "is_deviation": "of the same"}, _inception_score, "logits", compares=False,
        networks=_INCEPTION, least=_PARTS,
    ),
    "is_adm": Metric(
        {"is_adm": "parts of 5,000 samples, logits without bias"}, _inception_score_of_parts, "logits_unbiased",
        compares=False, networks=_INCEPTION, least=1,
    ),
    "kid": Metric({"kid": _KID, "kid_deviation": "of the subsets"}, _kid, least=_SUBSET),
    "prdc": Metric(
        {"precision": _CLOSED, "recall": _CLOSED, "density": _OPEN, "coverage": _OPEN}, _neighbours,
        least=_COVERING + 1,
    ),
    "cmmd": Metric(
        {"cmmd": "biased, sigma 10, times 1,000"}, lambda one, other: {"cmmd": cmmd(unit(one), unit(other))},
        networks=("clip_vit",), least=1,
    ),
}  # fmt: skip


def chosen(text: str) -> dict[str, Metric]:
    """The metrics of `--metrics`, such as "fid,prdc".

    Raises:
      ConfigError: there is no such metric.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    require(bool(names), f"--metrics is empty; it must name some of {', '.join(METRICS)}, with commas in between.")
    for name in names:
        require_choice("--metrics", name, METRICS)
    return {name: METRICS[name] for name in names}


def check_network(metrics: Mapping[str, Metric], network: str) -> None:
    """Raise `ConfigError` if one of the metrics is not of this network."""
    for name, metric in metrics.items():
        if network not in metric.networks:
            raise ConfigError(f"--metrics has {name}, {_reason(name, network)}")


def _reason(name: str, network: str) -> str:
    if name == "fd":
        return "which is what the distance is called of other networks; of FID's Inception it is fid."
    instead = " The same distance in its features is fd." if name in ("fid", "sfid") else ""
    known = {"inception": "FID's Inception", "clip_vit": "CLIP"}
    whose = " or ".join(known[each] for each in METRICS[name].networks)
    return f"which is defined of {whose} alone, but --features names {network}.{instead}"


def needs(metrics: Mapping[str, Metric], main: str, *, reference: bool = False) -> Needs:
    """What must be known of the samples; or of the reference."""
    asked = [each for each in metrics.values() if each.compares or not reference]
    gaussians = dict.fromkeys(each.feature or main for each in asked if each.gaussian)
    return Needs(tuple(gaussians), tuple(dict.fromkeys(each.feature or main for each in asked if not each.gaussian)))


def check_count(metrics: Mapping[str, Metric], count: int, what: str, *, reference: bool = False) -> None:
    """Raise `ConfigError` for too few images; `what` says which, such as "the samples"."""
    for name, metric in metrics.items():
        asked = metric.compares or not reference
        require(
            not asked or count >= metric.least, f"{what} are {count:,}, but {name} needs at least {metric.least:,}."
        )


def figures(
    metrics: Mapping[str, Metric], main: str, samples: Measured, reference: Measured | None
) -> dict[str, dict[str, float]]:
    """The figures of each metric; every process must call it."""
    return {name: _figures(metric, metric.feature or main, samples, reference) for name, metric in metrics.items()}


def _figures(metric: Metric, feature: str, samples: Measured, reference: Measured | None) -> dict[str, float]:
    def known(of: Measured | None) -> Gaussian | np.ndarray:
        assert of is not None
        return of.gaussians[feature] if metric.gaussian else of.features[feature]

    return metric.compute(known(samples), known(reference) if metric.compares else None)


def full_name(figure: str, network: str, prepare: str, samples: int, reference: str | None) -> str:
    """A figure's name with its convention.

    >>> full_name("fid", "inception", "tensorflow", 50_000, "VIRTUAL_imagenet64")
    'fid_inception_tensorflow_50k_vs_VIRTUAL_imagenet64'
    >>> full_name("is", "inception", "tensorflow", 1_234, None)
    'is_inception_tensorflow_1234'
    """
    count = f"{samples // 1_000}k" if samples % 1_000 == 0 else str(samples)
    return "_".join([figure, network, prepare, count, *([] if reference is None else ["vs", reference])])
