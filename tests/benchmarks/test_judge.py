"""What the judge's figures mean, on embeddings whose answers are known."""

import numpy as np
import pytest

from benchmarks.studies.judge import agreement, diversity, kernel_distance, ranks


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_a_rank_counts_the_captions_that_are_nearer():
    captions = unit([[1, 0], [1, 1], [0, 1]])
    pictures = unit([[1, 0.1], [1, 0.1], [1, 0.1]])
    assert ranks(pictures, captions, np.array([0, 1, 2])).tolist() == [1, 2, 3]


def test_pictures_of_their_captions_agree():
    z = unit(np.random.default_rng(0).normal(size=(30, 8)))
    right, wrong = agreement(z, z, np.arange(30)), agreement(z, z, np.roll(np.arange(30), 1))
    assert (right["median rank"], right["first"], right["cosine"]) == (1, 1, pytest.approx(1))
    assert wrong["first"] == 0
    assert wrong["median rank"] > 5


def test_diversity_is_the_mean_distance_of_pairs():
    same, apart = unit([[[1, 0], [1, 0]]]), unit([[[1, 0], [0, 1]], [[1, 0], [-1, 0]]])
    assert diversity(same) == pytest.approx(0)
    assert diversity(apart) == pytest.approx((1 + 2) / 2)


def test_the_kernel_distance_tells_distributions_apart_without_bias():
    draws = np.random.default_rng(0).normal(size=(40, 2, 25, 6))
    shifted = draws + np.array([0, 2])[None, :, None, None]
    equal = [kernel_distance(unit(a), unit(b)) for a, b in draws]
    other = [kernel_distance(unit(a), unit(b)) for a, b in shifted]
    assert abs(np.mean(equal)) < 3 * np.std(equal) / np.sqrt(len(equal))
    assert min(other) > max(equal)
