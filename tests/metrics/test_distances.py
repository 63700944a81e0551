"""What distances and scores must be, whoever computes them: closed forms, zeros, merging; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from glowdiff.errors import ConfigError
from glowdiff.metrics import statistics
from glowdiff.metrics.clip_score import clip_score_torchmetrics, cosines, ref_clip_score, unit
from glowdiff.metrics.discrepancy import cmmd, draw_subsets, kid, polynomial_discrepancy
from glowdiff.metrics.frechet import frechet_distance, frechet_distance_of_features, frechet_infinity, spatial
from glowdiff.metrics.inception_score import inception_score, inception_score_of_parts
from glowdiff.metrics.moments import Gaussian, Moments, merge_all, moments_of, none
from glowdiff.metrics.neighbours import neighbourhoods, squared_radii

RNG = np.random.default_rng(0)
A = np.maximum(RNG.normal(0.3, 1, (90, 12)), 0).astype(np.float32)
B = np.maximum(RNG.normal(0.5, 1, (70, 12)), 0).astype(np.float32)


def gaussian(features):
    return moments_of(features).gaussian()


# ---- Fréchet distances.


def test_gaussians_of_known_moments():
    """Commuting covariances: |mu_1 - mu_2|^2 + sum (sqrt l_1 - sqrt l_2)^2."""
    turn = np.linalg.qr(RNG.normal(size=(12, 12)))[0]
    first, second = RNG.uniform(0, 2, 12), RNG.uniform(0, 2, 12)
    first[:3] = second[2:5] = 0  # neither has full rank
    mean = RNG.normal(size=12)
    found = frechet_distance(Gaussian(mean, turn * first @ turn.T), Gaussian(np.zeros(12), turn * second @ turn.T))
    expected = (mean**2).sum() + ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_shift_and_a_factor():
    assert frechet_distance_of_features(A, A + np.float32(2)) == pytest.approx(4 * 12, rel=1e-6)
    trace = np.trace(gaussian(A).covariance)
    found = frechet_distance_of_features(A, 2 * A)
    assert found == pytest.approx((A.mean(0, dtype=np.float64) ** 2).sum() + trace, rel=1e-12)


@pytest.mark.parametrize("count", [3, 90])  # below the width, and above
def test_a_set_and_itself(count):
    some = A[:count]
    assert frechet_distance_of_features(some, some) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(gaussian(some), gaussian(some)) == pytest.approx(0, abs=1e-12)
    assert polynomial_discrepancy(some, some, "biased") == pytest.approx(0, abs=1e-13)
    assert cmmd(unit(some), unit(some)) == pytest.approx(0, abs=1e-12)


def test_the_two_ways_agree_on_fewer_images_than_features():
    wide, other = RNG.normal(size=(9, 40)), RNG.normal(size=(14, 40))
    from_moments = frechet_distance(gaussian(wide), gaussian(other))
    assert frechet_distance_of_features(wide, other) == pytest.approx(from_moments, abs=1e-10)


def test_more_rows_than_are_held_at_once(monkeypatch):
    monkeypatch.setattr("glowdiff.metrics.moments.ROWS", 20)
    expected = Moments(90, A.mean(0, dtype=np.float64), np.cov(A, rowvar=False, dtype=np.float64) * 89)
    for found, one in zip(moments_of(A), expected, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-12, atol=1e-13)
    assert frechet_distance_of_features(A, B) == pytest.approx(frechet_distance(gaussian(A), gaussian(B)), abs=1e-12)


def test_infinity_takes_the_bias_away():
    """Samples of the reference itself: the distance falls as 1/N, and the line ends near 0."""
    truth = Gaussian(np.zeros(6), np.eye(6))
    features = np.random.default_rng(1).normal(size=(8_000, 6)).astype(np.float32)
    biased = frechet_distance_of_features(features[:500], features[4_000:])
    found = frechet_infinity(features, truth, points=8, smallest=500)
    assert abs(found) < 0.2 * biased
    assert found == frechet_infinity(features, truth, points=8, smallest=500)
    with pytest.raises(ConfigError, match="starts from 5,000 images, but there are 90"):
        frechet_infinity(A, gaussian(B))


def test_maps_of_sfid():
    maps = np.arange(2 * 3 * 3 * 9).reshape(2, 3, 3, 9)
    assert spatial(maps)[1, :8].tolist() == [81, 82, 83, 84, 85, 86, 87, 90]
    with pytest.raises(ConfigError, match="at least 7"):
        spatial(maps[..., :6])


# ---- Moments.


def test_shards_merge_to_the_whole():
    """Whatever their sizes, with an empty one among them, in either order."""
    far = (A * np.float32(0.02) + 100).astype(np.float32)
    parts = [moments_of(part) for part in np.split(far, [1, 8, 50]) if len(part)] + [none(12)]
    whole = moments_of(far)
    for found in (merge_all(parts), merge_all(reversed(parts))):
        assert found.images == 90
        np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-15)
        np.testing.assert_allclose(found.scatter, whole.scatter, rtol=1e-9, atol=1e-12)
    with pytest.raises(ConfigError, match="width 12, but others to be merged with them width 5"):
        merge_all([whole, none(5)])


def test_one_image_has_no_covariance():
    with pytest.raises(ConfigError, match="statistics of 1 image have no covariance"):
        gaussian(A[:1])
    with pytest.raises(ConfigError, match="are of 1 image; this needs at least 2"):
        frechet_distance_of_features(A, B[:1])


def test_features_that_are_not_finite_are_counted_and_named():
    bad = A.copy()
    bad[[3, 71], [0, 5]] = np.nan, np.inf
    for measure in (
        moments_of,
        inception_score,
        squared_radii,
        lambda x: kid(x, x),
        lambda x: frechet_distance_of_features(B, x),
    ):
        with pytest.raises(ConfigError, match="for 2 of 90 images, numbers 3, 71"):
            measure(bad)


def test_features_of_other_networks_are_refused():
    for measure in (frechet_distance_of_features, polynomial_discrepancy, neighbourhoods):
        with pytest.raises(ConfigError, match=r"width 12, but .* width 5"):
            measure(A, B[:, :5])
    with pytest.raises(ConfigError, match="they must be numbers"):
        moments_of(A[0])


# ---- Files of statistics.


def test_statistics_are_kept(tmp_path):
    kept = gaussian(A)
    statistics.write(tmp_path / "a.npz", kept)
    for found, one in zip(statistics.read(tmp_path / "a.npz", 12), kept, strict=True):
        np.testing.assert_array_equal(found, one)
    mu, sigma = kept
    for arrays, message in (
        ({"mu": mu[:5], "sigma": sigma[:5, :5]}, r"shapes \[5\] and \[5, 5\]; the features here have width 12"),
        ({"mu": mu}, "which holds mu, but no sigma"),
        ({"mu": mu, "sigma": sigma * np.nan}, "whose sigma .* is not all finite"),
        ({"mu": mu, "sigma": np.triu(sigma)}, "is not symmetric"),
    ):
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(ConfigError, match=message):
            statistics.read(tmp_path / "bad.npz", 12)
    np.savez(tmp_path / "adm.npz", mu_s=mu.astype(np.float32), sigma_s=sigma.astype(np.float32))
    assert statistics.read(tmp_path / "adm.npz", 12, suffix="_s").covariance.dtype == np.float64


# ---- Inception score.


def test_inception_scores_of_known_classifiers():
    certain = np.eye(10)[np.arange(60) % 10] * 2_000
    assert inception_score(certain, splits=2).mean == pytest.approx(10)
    assert inception_score(np.zeros((60, 10)), splits=3) == pytest.approx((1, 0))
    assert inception_score_of_parts(np.concatenate([certain, certain[:1]]), size=60).mean == pytest.approx(5.5)
    with pytest.raises(ConfigError, match="60 images cannot be parted in 61"):
        inception_score(certain, splits=61)


# ---- Discrepancies.


def test_discrepancies_in_tiles(monkeypatch):
    expected = polynomial_discrepancy(A, B), cmmd(unit(A), unit(B))
    monkeypatch.setattr("glowdiff.metrics.discrepancy._ROWS", 32)
    assert (polynomial_discrepancy(A, B), cmmd(unit(A), unit(B))) == pytest.approx(expected, rel=1e-12)


def test_subsets_of_kid():
    pairs = list(draw_subsets(90, 70, count=3, size=40))
    assert [(len(set(a)), len(set(b))) for a, b in pairs] == [(40, 40)] * 3
    assert kid(A, B, pairs).mean != kid(A, B, pairs[:1]).mean
    for wrong in ({"size": 71}, {"count": 0}):
        with pytest.raises(ConfigError, match=r"KID"):
            draw_subsets(90, 70, **wrong)


def test_what_discrepancies_refuse():
    with pytest.raises(ConfigError, match=r"divide each by its length"):
        cmmd(A, B)
    with pytest.raises(ConfigError, match="one size, not 90 and 70 images"):
        polynomial_discrepancy(A, B, "u_statistic")
    with pytest.raises(ConfigError, match="Did you mean 'unbiased'"):
        polynomial_discrepancy(A, B, "unbiassed")


# ---- Neighbourhoods.


def brute_force(real, fake, k, closed):
    def squares(x, y):
        return np.square(x[:, None].astype(np.float64) - y[None]).sum(-1)

    radii = [np.sort(squares(x, x), 1)[:, k] for x in (real, fake)]
    between = squares(real, fake)
    within = np.less_equal if closed else np.less
    held = within(between, radii[0][:, None])
    return held.any(0).mean(), within(between, radii[1][None]).any(1).mean(), held.mean(1).sum() / k, held.any(1).mean()


@pytest.mark.parametrize("closed", [True, False])
def test_neighbourhoods_in_tiles_and_far_away(monkeypatch, closed):
    """Neither tiles that do not fill nor a large mean matter, and with whole numbers ties stay ties."""
    monkeypatch.setattr("glowdiff.metrics.neighbours._ROWS", 32)
    monkeypatch.setattr("glowdiff.metrics.neighbours._COLUMNS", 25)
    whole, other = (np.rint(2 * each[:, :3]) for each in (A, B))
    near = np.random.default_rng(1).normal(0.4, 1e-3, (2, 80, 3)).astype(np.float32)
    for real, fake in ((A, B), (whole + 10_000, other + 10_000), near):
        found = neighbourhoods(real, fake, k=3, closed=closed)
        np.testing.assert_allclose(found, brute_force(real, fake, 3, closed), rtol=1e-6)


def test_copies_and_strangers():
    same = neighbourhoods(A, A, k=5)
    assert same[:2] == (1, 1)
    assert same.coverage == 1
    assert neighbourhoods(A, A + 100) == (0, 0, 0, 0)
    collapsed = neighbourhoods(A, np.repeat(A[:1], 40, 0))
    assert collapsed.precision == 1
    assert collapsed.recall < 0.1
    with pytest.raises(ConfigError, match="are of 3 images; this needs at least 4"):
        neighbourhoods(A, B[:3])


# ---- CLIP scores.


def test_clip_scores():
    east, north, west = np.eye(2)[[0]], np.eye(2)[[1]], -np.eye(2)[[0]]
    assert cosines(3 * east, east) == pytest.approx(1)
    assert clip_score_torchmetrics(east, west) == 0
    assert ref_clip_score(east, east, np.stack([west, east], 1)) == pytest.approx(2 * 2.5 / 3.5)
    assert ref_clip_score(east, north, east[:, None]) == 0
    with pytest.raises(ConfigError, match="1 images, but 2 captions"):
        cosines(east, np.eye(2))
