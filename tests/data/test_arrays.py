"""An .npz of the user's: what is read, and what is refused in which words."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from glowdiff.config.sections import DataConfig
from glowdiff.data.batches import train_batches
from glowdiff.data.dataset import load
from glowdiff.errors import ConfigError

IMAGES = np.random.default_rng(0).integers(0, 10, (50, 4, 6, 5), dtype=np.uint8)


class Hostile:
    """Fails the test when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def read(tmp_path, *arrays, **named):
    np.savez(tmp_path / "set.npz", *arrays, **named)
    return load(DataConfig(name="arrays", path=str(tmp_path / "set.npz"), test_fraction=0.2))


def test_images_alone(tmp_path):
    dataset = read(tmp_path, IMAGES)
    assert (dataset.spec.shape, dataset.spec.levels, dataset.spec.classes) == ((4, 6, 5), 256, ())
    assert dataset.spec.train_size + dataset.spec.test_size == 50
    assert 4 <= dataset.spec.test_size <= 18
    assert dataset.train[0]["cond"] == {}


def test_labels_and_levels(tmp_path):
    labels = np.arange(50) % 3
    dataset = read(tmp_path, images=IMAGES, labels=labels, levels=10)
    assert (dataset.spec.levels, dataset.spec.classes) == (10, ("0", "1", "2"))
    for split in (dataset.train, dataset.test):
        for index in range(len(split)):
            row = int(np.argwhere((split[index]["image"] == IMAGES).all((1, 2, 3)))[0, 0])
            assert split[index]["cond"]["label"] == labels[row]
    batch = next(train_batches(dataset, DataConfig(flip=True), batch=8, seed=0))
    assert batch["cond"]["label"].dtype == np.int32


def test_the_split_is_fixed(tmp_path):
    one, same = (read(tmp_path, IMAGES) for _ in range(2))
    np.testing.assert_array_equal(one.test.images, same.test.images)


def test_two_images_are_enough(tmp_path):
    spec = read(tmp_path, IMAGES[:2]).spec
    assert (spec.train_size, spec.test_size) == (1, 1)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"arr_0": IMAGES.astype(np.float32)}, "arr_0 is float32; it must be uint8"),
        ({"arr_0": IMAGES.astype(np.int64)}, "arr_0 is int64; it must be uint8"),
        ({"arr_0": IMAGES[..., 0]}, r"shape \(50, 4, 6\); it must be \[N, H, W, C\] \(for gray images"),
        ({"arr_0": IMAGES[:1]}, "at least two images"),
        ({"arr_0": np.zeros((9, 3, 16, 16), np.uint8)}, r"channels first as PyTorch .* np\.moveaxis\(images, 1, -1\)"),
        ({"images": np.zeros((9, 1, 28, 28), np.uint8)}, r"channels first as PyTorch .* np\.moveaxis\(images, 1, -1\)"),
        ({str(i): IMAGES for i in range(20)}, r"which holds 0, 1, .*, 7, and 12 more; the images"),
        ({"pictures": IMAGES}, "holds pictures; the images must be arr_0 or images"),
        ({"images": IMAGES, "levels": 5}, r"levels are 5, so that pixels are 0 \.\.\. 4; one of its pixels is 9"),
        ({"images": IMAGES, "levels": 1}, "one integer from 2 to 256"),
        ({"images": IMAGES, "levels": 300}, "one integer from 2 to 256"),
        ({"images": IMAGES, "labels": np.zeros(49, int)}, r"of shape \(49,\); it must be integers of shape \(50,\)"),
        ({"images": IMAGES, "labels": np.zeros(50)}, "labels is float64"),
        ({"images": IMAGES, "labels": np.full(50, -1)}, "from -1 to -1"),
        ({"images": IMAGES, "labels": np.full(50, 10**9)}, "they must be the numbers of classes"),
    ],
)
def test_unsuitable_arrays_are_refused(tmp_path, arrays, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, **arrays)


@pytest.mark.parametrize("shape", [(9, 3, 4, 3), (9, 28, 28, 1), (9, 3, 100, 3), (9, 16, 16, 16)])
def test_channels_that_may_come_last_do(tmp_path, shape):
    assert read(tmp_path, np.zeros(shape, np.uint8)).spec.shape == shape[1:]


def test_other_arrays_are_not_looked_at(tmp_path):
    assert read(tmp_path, IMAGES, other=np.array([Hostile()], object)).spec.shape == (4, 6, 5)


def test_pickles_are_refused_unread(tmp_path):
    with pytest.raises(ConfigError, match="pickled Python objects"):
        read(tmp_path, IMAGES, np.array([Hostile()], object))
    (tmp_path / "set.npz").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ConfigError, match=r"is not an \.npz file; save one with np\.savez\(path, images\)"):
        load(DataConfig(name="arrays", path=str(tmp_path / "set.npz")))


def test_files_that_are_no_npz(tmp_path):
    config = DataConfig(name="arrays", path=str(tmp_path / "set.npz"))
    with pytest.raises(ConfigError, match="there is no file"):
        load(config)
    with (tmp_path / "set.npz").open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(ConfigError, match=r"a single array; save an \.npz file with np\.savez"):
        load(config)
    np.savez(tmp_path / "set.npz", IMAGES)
    content = (tmp_path / "set.npz").read_bytes()
    (tmp_path / "set.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match=r"a damaged \.npz file"):
        load(config)


def test_a_size_is_refused(tmp_path):
    np.savez(tmp_path / "set.npz", IMAGES)
    with pytest.raises(ConfigError, match=r"data\.size is 8, but the images of arrays are 4x6"):
        load(DataConfig(name="arrays", path=str(tmp_path / "set.npz"), size=8))
