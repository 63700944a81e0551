"""Captions become conditions: their tokens, in examples and batches, and what is said of those that are cut."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest

from glowdiff.config.sections import DataConfig
from glowdiff.data.batches import eval_batches, init_batch, train_batches
from glowdiff.data.captions import train_captions, with_tokens
from glowdiff.errors import ConfigError
from tests.data.words import WordLengths, captioned

TRAIN = ("a red apple", "pear", "two plums", "a bowl of figs", "dates", "one lime", "kiwi", "sloes")
TEST = ("a melon", "", "nuts")


@pytest.fixture(params=[False, True], ids=["memory", "disk"])
def fruit(request):
    return captioned(TRAIN, TEST, on_disk=request.param)


def test_examples_have_tokens_and_mask_beside_the_label(fruit):
    example = with_tokens(fruit, WordLengths(), 5).train[3]
    assert example["caption"] == "a bowl of figs"
    assert set(example["cond"]) == {"label", "tokens", "mask"}
    assert example["cond"]["tokens"].dtype == np.int32
    assert example["cond"]["tokens"].tolist() == [1, 4, 2, 4, 0]
    assert example["cond"]["mask"].dtype == bool
    assert example["cond"]["mask"].tolist() == [True] * 4 + [False]
    assert example["cond"]["label"] == 3


def test_an_empty_caption_is_none(fruit):
    assert not with_tokens(fruit, WordLengths(), 3).test[1]["cond"]["mask"].any()


def test_without_labels_there_are_tokens_alone(fruit):
    bare = fruit._replace(train=_Unlabelled(fruit.train), test=_Unlabelled(fruit.test))
    assert set(with_tokens(bare, WordLengths(), 3).train[0]["cond"]) == {"tokens", "mask"}


class _Unlabelled:
    def __init__(self, source):
        self._source = source
        self.captions = source.captions

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        return {**self._source[index], "cond": {}}


def lengths(captions) -> list[list[int]]:
    return WordLengths().encode_cut(captions, 4)[0].tokens.tolist()


def test_batches_hold_the_tokens_of_their_images_and_no_words(fruit):
    dataset = with_tokens(fruit, WordLengths(), 4)
    config = DataConfig(flip=True, shift=1)
    training = train_batches(dataset, config, batch=4, seed=0)
    batches = [*itertools.islice(training, 3), init_batch(dataset, config, images=12, seed=0)]
    training.close()
    for batch in batches:
        assert set(batch) == {"image", "cond"}
        assert batch["cond"]["tokens"].dtype == np.int32
        assert batch["cond"]["mask"].dtype == bool
        captions = [TRAIN[row] for row in batch["image"][:, 0, 0, 0]]
        assert batch["cond"]["tokens"].tolist() == lengths(captions)
        assert (batch["cond"]["mask"] == (batch["cond"]["tokens"] > 0)).all()
    (tested,) = eval_batches(dataset, batch=4)
    assert set(tested) == {"image", "cond", "index", "mask"}
    assert tested["cond"]["tokens"].tolist() == lengths([*TEST, TEST[-1]])
    assert tested["mask"].shape == (4,)  # of the images, beside that of the tokens
    assert tested["cond"]["mask"].shape == (4, 4)


def test_processes_share_the_batches_of_one(fruit):
    dataset = with_tokens(fruit, WordLengths(), 4)
    whole = _take(train_batches(dataset, DataConfig(), batch=4, seed=1))
    shares = [
        _take(train_batches(dataset, DataConfig(), batch=4, seed=1, process_index=i, process_count=2)) for i in (0, 1)
    ]
    for one, *parts in zip(whole, *shares, strict=True):
        for key in ("tokens", "mask", "label"):
            np.testing.assert_array_equal(one["cond"][key], np.concatenate([part["cond"][key] for part in parts]))


def _take(iterator) -> list:
    batches = list(itertools.islice(iterator, 3))
    iterator.close()
    return batches


def test_captions_in_memory_that_are_cut_are_counted_with_an_example(capsys):
    with_tokens(captioned(TRAIN, TEST), WordLengths(), 2)
    assert capsys.readouterr().err == (
        "2 of the 11 captions of captioned have more than 2 tokens and were cut, for example 'a bowl of figs'.\n"
    )


def test_the_first_caption_on_disk_that_is_cut_is_named_once(capsys):
    dataset = with_tokens(captioned(TRAIN, TEST, on_disk=True), WordLengths(), 2)
    for row in (1, 3, 0, 3):
        assert dataset.train[row]["cond"]["tokens"].shape == (2,)
    assert capsys.readouterr().err == (
        "some captions of captioned have more than 2 tokens and are cut, first 'a bowl of figs'.\n"
    )


def test_nothing_is_said_where_nothing_is_cut_nor_by_other_processes(fruit, capsys, monkeypatch):
    with_tokens(fruit, WordLengths(), 4).train[3]
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with_tokens(fruit, WordLengths(), 1).train[3]
    assert capsys.readouterr().err == ""


def test_the_captions_to_make_a_tokenizer_of(fruit):
    assert train_captions(fruit) == list(TRAIN)
    assert train_captions(with_tokens(fruit, WordLengths(), 4)) == list(TRAIN)


def test_a_set_without_captions_is_named(digits):
    for function in (train_captions, lambda dataset: with_tokens(dataset, WordLengths(), 4)):
        with pytest.raises(ConfigError, match=r"'digits', whose images have no captions.*metadata\.csv"):
            function(digits)
