"""Batches: order, resuming, processes, augmentation, and the test set exactly once."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glowdiff.config.sections import DataConfig
from glowdiff.data.augment import Augment
from glowdiff.data.batches import eval_batches, init_batch, train_batches
from glowdiff.data.dataset import Dataset
from glowdiff.data.sources import Memory
from glowdiff.errors import ConfigError
from glowdiff.spec import DataSpec

PLAIN = DataConfig()
AUGMENTED = DataConfig(flip=True, shift=2)


def numbered(train: int, test: int = 1, shape=(6, 6, 1)) -> Dataset:
    """A set whose image i has i in every pixel and the label i."""

    def split(count: int) -> Memory:
        numbers = np.arange(count)
        return Memory(
            np.broadcast_to(numbers[:, None, None, None], (count, *shape)).astype(np.uint8), numbers.astype(np.int32)
        )

    return Dataset(
        DataSpec("numbered", shape, 256, train, test, tuple(map(str, range(max(train, test))))),
        split(train),
        split(test),
    )


def take(iterator, count: int) -> list:
    return list(itertools.islice(iterator, count))


def assert_equal(actual, expected) -> None:
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(one["cond"]["label"], other["cond"]["label"])


def test_shapes_and_types(digits):
    batch = next(train_batches(digits, PLAIN, batch=6, seed=0))
    assert (batch["image"].shape, batch["image"].dtype) == ((6, 8, 8, 1), np.uint8)
    assert (batch["cond"]["label"].shape, batch["cond"]["label"].dtype) == ((6,), np.int32)


def test_every_epoch_holds_every_image_once_in_another_order():
    labels = [batch["cond"]["label"] for batch in take(train_batches(numbered(12), PLAIN, batch=4, seed=3), 6)]
    first, second = np.concatenate(labels[:3]), np.concatenate(labels[3:])
    assert sorted(first) == sorted(second) == list(range(12))
    assert list(first) != list(second)


def test_the_seed_alone_decides(digits):
    one, same, other = (take(train_batches(digits, AUGMENTED, batch=8, seed=seed), 3) for seed in (7, 7, 8))
    assert_equal(one, same)
    assert any((a["image"] != b["image"]).any() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("seed", [2**32, 2**40 + 1])
def test_any_seed_of_a_configuration_works(digits, seed):
    assert next(train_batches(digits, PLAIN, batch=4, seed=seed))["image"].shape == (4, 8, 8, 1)


@pytest.mark.parametrize("processes", [2, 4])
def test_global_batches_do_not_depend_on_the_number_of_processes(digits, processes):
    whole = take(train_batches(digits, AUGMENTED, batch=8, seed=1), 200)  # more than an epoch
    shares = [
        take(train_batches(digits, AUGMENTED, batch=8, seed=1, process_index=i, process_count=processes), 200)
        for i in range(processes)
    ]
    joined = [
        {
            "image": np.concatenate([p["image"] for p in parts]),
            "cond": {"label": np.concatenate([p["cond"]["label"] for p in parts])},
        }
        for parts in zip(*shares, strict=True)
    ]
    assert_equal(joined, whole)


def test_a_process_reads_its_own_images_only():
    read = []

    class Watched(Memory):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    dataset = numbered(64)
    watched = dataset._replace(train=Watched(dataset.train.images, dataset.train.labels))
    iterator = train_batches(watched, PLAIN, batch=8, seed=0, process_index=1, process_count=4)
    batches = take(iterator, 2)
    iterator.close()
    assert len(read) <= 2 * (2 + 16 + 4)  # two rows a batch: those taken and those read ahead
    assert batches[0]["cond"]["label"].shape == (2,)


@pytest.mark.parametrize("processes", [1, 2])
def test_resuming_gives_the_same_batches_whatever_the_processes(digits, processes):
    iterator = train_batches(digits, AUGMENTED, batch=8, seed=1)
    take(iterator, 185)  # into the second epoch
    position = json.loads(json.dumps(iterator.position()))
    expected = take(iterator, 5)
    shares = []
    for index in range(processes):
        fresh = train_batches(digits, AUGMENTED, batch=8, seed=1, process_index=index, process_count=processes)
        fresh.restore(position)
        assert fresh.position() == position
        shares.append(take(fresh, 5))
    rows = 8 // processes
    for index, share in enumerate(shares):
        part = slice(index * rows, (index + 1) * rows)
        assert_equal(
            share, [{"image": b["image"][part], "cond": {"label": b["cond"]["label"][part]}} for b in expected]
        )


def test_an_iterator_can_go_back(digits):
    iterator = train_batches(digits, AUGMENTED, batch=8, seed=1)
    start = iterator.position()
    first = take(iterator, 4)
    iterator.restore(start)
    assert_equal(take(iterator, 4), first)


SCRIPT = """
import sys, json, hashlib, itertools
from glowdiff.config.sections import DataConfig
from glowdiff.data.dataset import load
from glowdiff.data.batches import train_batches
dataset = load(DataConfig(name="digits", dir=sys.argv[1]))
iterator = train_batches(dataset, DataConfig(flip=True, shift=2), batch=8, seed=1)
iterator.restore(json.loads(sys.argv[2]))
sums = [hashlib.sha256(batch["image"].tobytes()).hexdigest() for batch in itertools.islice(iterator, 3)]
print(json.dumps([sums, "tensorflow" in sys.modules]))
"""


def test_resuming_in_a_fresh_process_without_tensorflow(digits, store):
    iterator = train_batches(digits, AUGMENTED, batch=8, seed=1)
    take(iterator, 10)
    position = json.dumps(iterator.position())
    expected = [hashlib.sha256(batch["image"].tobytes()).hexdigest() for batch in take(iterator, 3)]
    output = subprocess.run([sys.executable, "-c", SCRIPT, store, position], capture_output=True, check=True, text=True)
    assert json.loads(output.stdout) == [expected, False]


def test_another_batch_size_is_not_resumed_between_its_batches(digits):
    iterator = train_batches(digits, PLAIN, batch=10, seed=0)
    with pytest.raises(ConfigError, match=r"train\.batch is 10, but the data were left at image 24"):
        iterator.restore({"next_image": 24})


@pytest.mark.parametrize(
    ("config", "batch", "processes", "message"),
    [
        (PLAIN, 13, 1, r"train\.batch is 13, but the training set of numbered has only 12 images"),
        (PLAIN, 6, 4, r"train\.batch is 6, which 4 processes cannot share equally"),
        (DataConfig(shift=6), 6, 1, r"data\.shift is 6, but the images are 6x6 pixels"),
    ],
)
def test_what_cannot_be_trained_on(config, batch, processes, message):
    with pytest.raises(ConfigError, match=message):
        train_batches(numbered(12), config, batch=batch, seed=0, process_count=processes)


def test_images_are_flipped_half_of_the_time():
    image = np.arange(18, dtype=np.uint8).reshape(3, 3, 2)
    source = Memory(np.repeat(image[None], 400, 0))
    dataset = Dataset(DataSpec("same", (3, 3, 2), 256, 400, 1), source, source)
    images = next(train_batches(dataset, DataConfig(flip=True), batch=400, seed=0))["image"]
    flipped = (images == image[:, ::-1]).all((1, 2, 3))
    assert ((images == image).all((1, 2, 3)) | flipped).all()
    assert 150 < flipped.sum() < 250


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), shift=st.integers(1, 3))
def test_shifts_repeat_the_edges(seed, shift):
    image = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    padded = np.pad(image, ((shift, shift), (shift, shift), (0, 0)), mode="edge")
    element = {"image": image, "cond": {}}
    shifted = Augment(flip=False, shift=shift).random_map(element, np.random.default_rng(seed))["image"]
    offsets = itertools.product(range(2 * shift + 1), repeat=2)
    assert any((padded[top : top + 5, left : left + 7] == shifted).all() for top, left in offsets)


def test_all_shifts_happen():
    image = np.zeros((5, 5, 1), np.uint8)
    image[2, 2] = 1
    rng = np.random.default_rng(0)
    shifted = [Augment(False, 1).random_map({"image": image, "cond": {}}, rng)["image"] for _ in range(200)]
    assert {tuple(np.argwhere(s[..., 0])[0] - 2) for s in shifted} == set(itertools.product((-1, 0, 1), repeat=2))


def test_the_data_are_never_changed_by_augmentation(digits):
    before = digits.train.images.copy()
    take(train_batches(digits, AUGMENTED, batch=64, seed=0), 30)
    np.testing.assert_array_equal(digits.train.images, before)


def test_the_initial_batch_is_not_the_first_one_and_repeats_small_sets(digits):
    initial = init_batch(digits, AUGMENTED, images=8, seed=1)
    assert_equal([initial], [init_batch(digits, AUGMENTED, images=8, seed=1)])
    assert (initial["image"] != next(train_batches(digits, AUGMENTED, batch=8, seed=1))["image"]).any()
    labels = init_batch(numbered(5), PLAIN, images=13, seed=0)["cond"]["label"]
    assert sorted(np.bincount(labels)) == [2, 2, 3, 3, 3]


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize(("batch", "limit", "count"), [(8, None, 21), (8, 16, 16), (4, 9, 9), (24, 100, 21)])
def test_every_test_image_comes_exactly_once_in_order(batch, limit, count, processes):
    dataset = numbered(1, 21)
    shares = [
        list(eval_batches(dataset, batch=batch, limit=limit, process_index=i, process_count=processes))
        for i in range(processes)
    ]
    assert len({len(share) for share in shares}) == 1
    joined = [
        {key: np.concatenate([p[key] for p in parts]) for key in ("image", "index", "mask")}
        for parts in zip(*shares, strict=True)
    ]
    assert all(b["image"].shape == (batch, 6, 6, 1) for b in joined)
    index, mask = (np.concatenate([b[key] for b in joined]) for key in ("index", "mask"))
    assert (index.dtype, mask.dtype) == (np.int32, bool)
    np.testing.assert_array_equal(index, np.arange(len(index)))
    np.testing.assert_array_equal(mask, index < count)
    images = np.concatenate([b["image"] for b in joined])[mask]
    np.testing.assert_array_equal(images[:, 0, 0, 0], np.arange(count))
    assert all(part["cond"]["label"].dtype == np.int32 for share in shares for part in share)


def test_test_batches_divide_among_processes():
    with pytest.raises(ConfigError, match=r"eval\.batch is 3, which 2 processes"):
        eval_batches(numbered(1, 5), batch=3, process_count=2)


def test_closing_stops_the_threads(digits):
    before = threading.active_count()
    iterator = train_batches(digits, PLAIN, batch=4, seed=0)
    next(iterator)
    iterator.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before
