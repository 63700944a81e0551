"""Distances and scores of given features are what the original implementations and the definitions say."""

from __future__ import annotations

import re

import numpy as np
import pytest

from glowdiff.metrics.clip_score import clip_score_hessel, clip_score_torchmetrics, cosines, ref_clip_score
from glowdiff.metrics.discrepancy import cmmd, kid, polynomial_discrepancy
from glowdiff.metrics.frechet import frechet_distance, frechet_distance_of_features, spatial
from glowdiff.metrics.inception_score import inception_score, inception_score_of_parts
from glowdiff.metrics.moments import moments_of
from glowdiff.metrics.neighbours import neighbourhoods, realism, squared_radii
from tests.metrics.golden import cases, load


def test_frechet_distances():
    arrays, _ = load("metrics_fid")
    for case in cases(arrays, "out_CASE_exact"):
        maps = case == "sfid"
        one, other = (arrays[f"in_{'spatial' if maps else case}_{side}"] for side in "ab")
        if maps:
            one, other = spatial(one), spatial(other)
        expected = float(arrays[f"out_{case}_exact"])
        of_features = frechet_distance_of_features(one, other)
        a, b = moments_of(one).gaussian(), moments_of(other).gaussian()
        assert of_features == pytest.approx(expected, abs=3e-9), case
        # Of moments alone at least as near as ADM, or as near as any can be where ADM gives up.
        bound = 3 * max(1e-9, np.nan_to_num(abs(float(arrays[f"out_{case}_adm"]) - expected), nan=5e-7))
        assert frechet_distance(a, b) == pytest.approx(expected, abs=bound), case
        assert frechet_distance(b, a) == pytest.approx(expected, abs=bound), case
        for side, found in (("a", a), ("b", b)):
            for name, array in (("mu", found.mean), ("sigma", found.covariance)):
                if (key := f"out_{case}_{name}_{side}") in arrays:
                    np.testing.assert_allclose(array, arrays[key], atol=1e-12, rtol=1e-12)


def test_inception_scores():
    arrays, _ = load("metrics_inception_score")
    for name, expected in arrays.items():
        if match := re.fullmatch(r"out_adm_split_size_(\d+)", name):
            found = inception_score_of_parts(arrays["in_logits"], size=int(match[1])).mean
        elif match := re.fullmatch(r"out_fidelity_splits_(\d+)", name):
            found = inception_score(arrays["in_logits"], splits=int(match[1]))
        else:
            continue
        np.testing.assert_allclose(found, expected, atol=3e-10, rtol=0)


def test_kid():
    arrays, _ = load("metrics_kid")
    a, b = arrays["in_a"], arrays["in_b"]
    found = kid(a, b, zip(arrays["in_subsets_a"], arrays["in_subsets_b"], strict=True))
    np.testing.assert_allclose(found, arrays["out_fidelity_mean_std"], rtol=3e-12)
    assert found.mean == pytest.approx(float(arrays["out_clean_fid"]), rel=3e-12)
    n = min(len(a), len(b))
    for name, estimator, one, other in (
        ("full_equal", "unbiased", a[:n], b[:n]),
        ("full_unequal", "unbiased", a, b),
        ("u_statistic_equal", "u_statistic", a[:n], b[:n]),
        ("biased_equal", "biased", a[:n], b[:n]),
    ):
        found = polynomial_discrepancy(one, other, estimator)
        assert found == pytest.approx(float(arrays[f"out_{name}"]), rel=3e-12), name


def test_neighbourhoods():
    arrays, spec = load("metrics_prdc")
    k = spec["config"]["k"]
    for case in cases(arrays, "out_CASE_prdc"):
        real, fake = arrays[f"in_{case}_real"], arrays[f"in_{case}_fake"]
        np.testing.assert_allclose(
            neighbourhoods(real, fake, k=k, closed=False), arrays[f"out_{case}_prdc"], atol=1e-12
        )
        closed = neighbourhoods(real, fake, k=k)[:2]
        for original in ("kynkaanniemi", "adm"):
            np.testing.assert_allclose(closed, arrays[f"out_{case}_{original}"], atol=1e-12)
        for side, features in (("real", real), ("fake", fake)):
            np.testing.assert_allclose(
                squared_radii(features, k), arrays[f"out_{case}_radii_squared_{side}"], rtol=1e-5, atol=1e-5
            )
        if (name := f"out_{case}_realism") in arrays:
            np.testing.assert_allclose(realism(real, fake, k=k), arrays[name], rtol=1e-5)


def test_embeddings():
    arrays, _ = load("metrics_embeddings")
    images, texts = arrays["in_images"], arrays["in_texts"]
    assert cmmd(arrays["in_a"], arrays["in_b"]) == pytest.approx(float(arrays["out_cmmd"]), abs=3e-9)
    found = cosines(images, texts)
    np.testing.assert_allclose(found, arrays["out_cosines"], atol=3e-9)
    for value, name in (
        (found.mean(), "cosine_mean"),
        (clip_score_hessel(images, texts), "clip_score_hessel"),
        (clip_score_torchmetrics(images, texts), "clip_score_torchmetrics"),
        (ref_clip_score(images, texts, arrays["in_references"]), "ref_clip_score_hessel"),
    ):
        assert value == pytest.approx(float(arrays[f"out_{name}"]), abs=3e-9), name
