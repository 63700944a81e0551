"""Pictures of some captions are kept out of training and tested on."""

from __future__ import annotations

import pytest

from glowdiff.config.sections import DataConfig
from glowdiff.data.captions import train_captions, with_tokens
from glowdiff.data.dataset import Dataset, load
from glowdiff.data.unseen import keep_unseen
from glowdiff.errors import ConfigError
from tests.data.words import WordLengths, captioned

TRAIN = ("red cube", "blue cube", "red ball", "blue ball", "red cube")
TEST = ("green cone",)


def held(captions: str, *, on_disk: bool = False) -> Dataset:
    return Dataset(*keep_unseen(captions, *captioned(TRAIN, TEST, on_disk=on_disk)))


@pytest.mark.parametrize("on_disk", [False, True])
def test_their_pictures_move_to_the_end_of_the_test_set(on_disk):
    dataset = held("red cube|  blue   ball", on_disk=on_disk)
    assert (dataset.spec.train_size, dataset.spec.test_size) == (len(dataset.train), len(dataset.test)) == (2, 4)
    assert list(dataset.train.captions or ()) == ["blue cube", "red ball"]
    assert list(dataset.test.captions or ()) == ["green cone", "red cube", "blue ball", "red cube"]
    for split, numbers in ((dataset.train, [1, 2]), (dataset.test, [0, 0, 3, 4])):
        assert [split[row]["cond"]["label"] for row in range(len(split))] == numbers
        assert [split[row].get("caption") for row in range(len(split))] == list(split.captions or ())


@pytest.mark.parametrize("on_disk", [False, True])
def test_no_tokenizer_sees_them_and_their_tokens_are_theirs(on_disk):
    dataset = held("red cube", on_disk=on_disk)
    assert train_captions(dataset) == ["blue cube", "red ball", "blue ball"]
    tokens = with_tokens(dataset, WordLengths(), 2).test[2]["cond"]["tokens"]
    assert tokens.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (
            "red cub",
            r"data\.hold_out has 'red cub', which is the caption of no training picture.*did you mean 'red cube'",
        ),
        ("something else", r"whole ones, such as 'blue ball' or 'blue cube', separated by \|"),
        ("green cone", r"'green cone', .* in the test set already"),
        ("red cube||red ball", r"in which a caption is empty"),
        ("red cube|blue cube|red ball|blue ball", "leaves no picture of captioned to train on"),
    ],
)
def test_what_cannot_be_held_out(captions, message):
    with pytest.raises(ConfigError, match=message):
        held(captions)


def test_sets_without_captions_hold_out_none(store):
    with pytest.raises(ConfigError, match=r"data\.hold_out is 'seven'.*images of digits have no captions"):
        load(DataConfig(name="digits", dir=store, hold_out="seven"))
