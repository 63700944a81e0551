"""TFDS sets by name: read without TensorFlow, and what to do when they are not there."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from glowdiff.cli.prepare import main
from glowdiff.config.sections import DataConfig
from glowdiff.data.batches import eval_batches, train_batches
from glowdiff.data.dataset import load
from glowdiff.data.sets import stock
from glowdiff.errors import ConfigError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def picture(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)


class Cifar10(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Stands in for the real set: its name, version and features, with a few images."""

    name = "cifar10"
    VERSION = tfds.core.Version("3.0.2")

    def _info(self):
        features = {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(32, 32, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=NAMES),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(range(20)), "test": self._generate_examples(range(20, 26))}

    def _generate_examples(self, numbers):
        for index in numbers:
            yield index, {"id": str(index), "image": Image.fromarray(picture(index)), "label": index % 10}


@pytest.fixture(scope="module")
def cifar(tmp_path_factory) -> str:
    directory = str(tmp_path_factory.mktemp("stock"))
    Cifar10(data_dir=directory, file_format="array_record").download_and_prepare()
    return directory


def test_a_prepared_set_is_read(cifar):
    dataset = load(DataConfig(name="cifar10", dir=cifar))
    assert (dataset.spec.shape, dataset.spec.levels, dataset.spec.classes) == ((32, 32, 3), 256, tuple(NAMES))
    assert (dataset.spec.train_size, dataset.spec.test_size) == (20, 6)
    for index in range(6):
        np.testing.assert_array_equal(dataset.test[index]["image"], picture(20 + index))
        assert dataset.test[index]["cond"]["label"] == (20 + index) % 10
    batch = next(train_batches(dataset, DataConfig(), batch=4, seed=0))
    assert (batch["image"].shape, batch["cond"]["label"].dtype) == ((4, 32, 32, 3), np.int32)


def test_splits_and_parts_of_them(cifar):
    config = DataConfig(name="cifar10", dir=cifar, train_split="train[:80%]", test_split="train[80%:]")
    dataset = load(config)
    assert (len(dataset.train), len(dataset.test)) == (16, 4)
    np.testing.assert_array_equal(dataset.test[0]["image"], picture(16))
    with pytest.raises(ConfigError, match=r"data\.test_split is 'valid'.* its splits are .*test"):
        load(DataConfig(name="cifar10", dir=cifar, test_split="valid"))


def test_images_are_resized(cifar):
    dataset = load(DataConfig(name="cifar10", dir=cifar, size=8))
    assert dataset.spec.shape == (8, 8, 3)
    expected = Image.fromarray(picture(0)).resize((8, 8), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(dataset.train[0]["image"], np.asarray(expected))


def test_large_sets_are_decoded_by_threads(cifar, monkeypatch):
    monkeypatch.setattr("glowdiff.data.sources.MEMORY_LIMIT", 0)
    dataset = load(DataConfig(name="cifar10", dir=cifar))
    batches = list(eval_batches(dataset, batch=4))
    np.testing.assert_array_equal(batches[1]["image"][:2], [picture(24), picture(25)])


@pytest.fixture
def mocked(monkeypatch):
    """Random data in place of every TFDS set's; the mock has no bulk reading."""
    monkeypatch.setattr(stock, "_has_tensorflow", lambda: True)
    monkeypatch.setattr("glowdiff.data.sources._read", lambda records, keys: [records[key] for key in keys])
    with tfds.testing.mock_data(num_examples=8):
        yield


def test_mocked_sets(mocked, tmp_path):
    assert load(DataConfig(name="cifar10", dir=str(tmp_path))).spec.shape == (32, 32, 3)
    mnist = load(DataConfig(name="mnist", dir=str(tmp_path), size=16))
    assert mnist.train[0]["image"].shape == mnist.spec.shape == (16, 16, 1)
    assert load(DataConfig(name="celeb_a", dir=str(tmp_path))).spec.classes == ()


def test_unsuitable_sets(mocked, tmp_path):
    with pytest.raises(ConfigError, match=r"images differ in size; set data\.size"):
        load(DataConfig(name="oxford_flowers102", dir=str(tmp_path)))
    with pytest.raises(ConfigError, match="no feature called image to learn from; it has label, text"):
        load(DataConfig(name="imdb_reviews", dir=str(tmp_path)))


@pytest.fixture
def no_tensorflow(monkeypatch):
    monkeypatch.setattr(stock, "_has_tensorflow", lambda: False)


@pytest.mark.usefixtures("no_tensorflow")
def test_an_unprepared_set_without_tensorflow_says_what_to_do(tmp_path, capsys):
    directory = tmp_path / "my sets"
    command = f"glowdiff prepare cifar10 --dir '{directory}'"
    with pytest.raises(ConfigError) as error:
        load(DataConfig(name="cifar10", dir=str(directory)))
    assert "pip install 'glowdiff[tfds]'" in str(error.value)
    assert str(error.value).endswith(command)
    assert main(["cifar10", "--dir", str(directory)]) == 1
    assert command in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar01", "did you mean cifar10"),
        ("digts", "did you mean digits"),
        ("Photo", "did you mean photos"),
        ("qqqqqq", "it must be digits, photos, openmoji, folder, arrays or a TFDS name"),
        ("lsun/bedrom", "BuilderConfig bedrom not found"),
        ("not a name!", "no data set|cannot set up"),
    ],
)
def test_unknown_names(tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        load(DataConfig(name=name, dir=str(tmp_path)))


def test_an_unprepared_set_is_prepared_where_tensorflow_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(stock, "_has_tensorflow", lambda: True)
    monkeypatch.setattr(
        "tensorflow_datasets.image_classification.cifar.Cifar10.download_and_prepare",
        lambda self: Cifar10(data_dir=str(tmp_path / "sets"), file_format="array_record").download_and_prepare(),
        raising=False,
    )
    config = DataConfig(name="cifar10", dir=str(tmp_path / "sets"))
    assert load(config).spec.train_size == 20
    assert stock.prepare(config) == tmp_path / "sets" / "cifar10" / "3.0.2"


def test_a_failed_preparation_is_reported(tmp_path, monkeypatch):
    def fail(self):
        raise RuntimeError("no route to host")

    monkeypatch.setattr(stock, "_has_tensorflow", lambda: True)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(ConfigError, match=r"could not be prepared .*no route to host"):
        load(DataConfig(name="cifar10", dir=str(tmp_path)))
