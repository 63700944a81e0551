"""Attribute vectors: what they are, what they do to images, and their files."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil

import jax
import numpy as np
import pytest

import glowdiff
from glowdiff.cli import edit
from glowdiff.data.dataset import Dataset
from glowdiff.data.dataset import load as load_data
from glowdiff.data.sources import Memory
from glowdiff.editing import vector_files
from glowdiff.editing.attributes import find
from glowdiff.editing.latents import add_direction
from glowdiff.editing.vectors import attribute_vector
from glowdiff.errors import ConfigError
from glowdiff.text import tokenizer as tokenizers
from tests import small
from tests.cli.typed import typed


def assert_trees_close(found, expected, atol=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=atol), found, expected)


# ---- Which attributes there are.


def examples_with(people, name: str) -> list[int]:
    belongs = find(name, people.dataset.spec)
    return [i for i in range(len(people.dataset.test)) if belongs(people.dataset.test[i])]


def test_an_attribute_is_a_column_a_class_or_a_word_of_the_caption(people):
    persons, dark = examples_with(people, "is_person"), examples_with(people, "dark_skin")
    assert 0 < len(dark) < len(persons) < len(people.dataset.test)
    assert examples_with(people, "0") == examples_with(people, "label:0") == persons
    assert examples_with(people, "caption:Person") == examples_with(people, "caption:skin tone") == persons
    assert examples_with(people, "caption:dark") == examples_with(people, "caption:dark skin") == dark
    assert set(examples_with(people, "caption:medium-light")) == set(persons) - set(dark)
    # Whole words only.
    assert examples_with(people, "caption:light") == examples_with(people, "caption:son") == []


def test_an_attribute_that_does_not_exist_is_an_error_that_lists_the_closest_first(people):
    for name in ("dark-skn", "label:dark-skn"):
        with pytest.raises(ConfigError, match=rf"--attribute is '{name}', but arrays knows dark_skin, .*caption:WORD"):
            find(name, people.dataset.spec)
    with pytest.raises(ConfigError, match="--among is 'person', but arrays knows is_person, dark_skin, "):
        find("person", people.dataset.spec, "--among")
    for empty in ("caption:", "caption:  !", ""):
        with pytest.raises(ConfigError):
            find(empty, people.dataset.spec)
    bare = dataclasses.replace(people.dataset.spec, attributes=(), classes=(), captions=False)
    with pytest.raises(ConfigError, match="arrays has neither labels nor attributes"):
        find("caption:dark", bare)


# ---- The vector.


def test_a_vector_is_the_difference_of_two_means_whatever_the_batch(people):
    train = [people.dataset.train[i] for i in range(len(people.dataset.train))]
    latents = people.model.encode(
        np.stack([e["image"] for e in train]), label=np.stack([e["cond"]["label"] for e in train])
    )
    person, dark = np.stack([e["attributes"] for e in train]).T
    for among, rows in ((None, np.ones(len(train), bool)), ("is_person", person)):
        expected = jax.tree.map(
            lambda x, rows=rows: np.asarray(x)[rows & dark].mean(0) - np.asarray(x)[rows & ~dark].mean(0), latents
        )
        for batch in (7, 64):
            vector = attribute_vector(people.model, people.dataset, "dark_skin", among=among, batch=batch)
            assert_trees_close(vector.direction, expected)
            assert (vector.images_with, vector.images_without) == ((rows & dark).sum(), (rows & ~dark).sum())
            assert (vector.attribute, vector.among, vector.step) == ("dark_skin", among, 30)


def test_the_last_batch_compiles_nothing(people):
    with small.compilations() as whole:
        attribute_vector(people.model, people.dataset, "dark_skin", batch=len(people.dataset.train))
    with small.compilations() as batches:
        attribute_vector(people.model, people.dataset, "dark_skin", batch=9)
    assert len(people.dataset.train) % 9
    assert len(batches) <= len(whole)


def test_skin_follows_the_skin_tone_vector_on_people_it_has_not_seen(people):
    vector = attribute_vector(people.model, people.dataset, "dark_skin", among="is_person")
    images, labels = people.test_images(0)
    latents = people.model.encode(images, label=labels)
    faces = []
    for alpha in np.linspace(-1, 1, 7):
        moved = people.model.decode(add_direction(latents, vector.direction, alpha), label=labels)
        faces.append(moved[:, 2:6, 2:6].mean((1, 2, 3)))
    brightness = np.mean(faces, axis=1)
    assert (np.diff(brightness) < 0).all()
    assert brightness[0] - brightness[-1] > 40  # of 256 levels


def test_a_side_without_images_is_an_error(people):
    with pytest.raises(ConfigError, match=r"'caption:cat': none of the 1\d\d training images of arrays has it"):
        attribute_vector(people.model, people.dataset, "caption:cat")
    with pytest.raises(ConfigError, match=r"all of the \d+ training images of arrays that have 'dark_skin' have it"):
        attribute_vector(people.model, people.dataset, "is_person", among="dark_skin")
    with pytest.raises(ConfigError, match="--among is 'caption:cat', which no training image of arrays has"):
        attribute_vector(people.model, people.dataset, "is_person", among="caption:cat")


def test_labels_are_attributes_of_models_without_labels_too(digits):
    data = load_data(digits.config.data)
    few = Dataset(data.spec, [data.train[i] for i in range(40)], data.test)
    vector = attribute_vector(digits, few, "3", batch=16)
    labels = np.array([int(few.train[i]["cond"]["label"]) for i in range(40)])
    assert (vector.images_with, vector.images_without) == ((labels == 3).sum(), (labels != 3).sum())


# ---- Its file.


def test_captions_do_not_say_what_the_vector_is_to_say():
    """The images of a model that reads captions are encoded without them, as those are that are moved."""
    images = np.random.default_rng(0).integers(0, 256, (4, *small.COLOURS.shape), dtype=np.uint8)
    source = Memory(images, captions=small.CAPTIONS)
    model = small.untrained(small.text_config(), small.COLOURS, tokenizers.train(small.CAPTIONS, 300))
    found = attribute_vector(model, Dataset(small.COLOURS, source, source), "caption:red", batch=3)
    latents = np.asarray(model.encode(images))
    np.testing.assert_allclose(found.direction, latents[0] - latents[1:].mean(0), atol=1e-4)


@pytest.fixture(scope="module")
def vector(people):
    return attribute_vector(people.model, people.dataset, "dark_skin", among="is_person")


def test_a_file_gives_the_vector_back(people, vector, tmp_path):
    vector_files.save(tmp_path / "deep/er/dark.npz", vector)
    again = vector_files.load(tmp_path / "deep/er/dark.npz", people.model)
    jax.tree.map(np.testing.assert_array_equal, again.direction, vector.direction)
    assert dataclasses.replace(again, direction=None) == dataclasses.replace(vector, direction=None)
    assert [path.name for path in (tmp_path / "deep/er").iterdir()] == ["dark.npz"]


def test_a_vector_of_another_model_is_refused(digits, vector, tmp_path):
    vector_files.save(tmp_path / "dark.npz", vector)
    with pytest.raises(
        ConfigError, match=r"of 'dark_skin' for latents of shapes 4x4x12; this model's are 4x4x2, 2x2x8"
    ):
        vector_files.load(tmp_path / "dark.npz", digits)


def test_files_that_hold_no_vector_are_refused(people, vector, tmp_path):
    path = tmp_path / "vector.npz"
    with pytest.raises(ConfigError, match="there is no such file"):
        vector_files.load(path, people.model)
    vector_files.save(path, vector)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="is not an attribute vector of glowdiff"):
            vector_files.load(path, people.model)
    np.savez(path, np.zeros(3))
    with pytest.raises(ConfigError, match="is not an attribute vector of glowdiff"):
        vector_files.load(path, people.model)
    os.mkfifo(tmp_path / "pipe.npz")
    for strange in (tmp_path / "pipe.npz", "/dev/zero"):
        with pytest.raises(ConfigError, match=r"is not an attribute vector of glowdiff .*not a file"):
            vector_files.load(strange, people.model)
    np.savez(path, facts=np.array({"attribute": "x"}, object))
    with pytest.raises(ConfigError, match="holds pickled Python objects"):
        vector_files.load(path, people.model)


def test_a_workdir_keeps_vectors_and_uses_them_again(people, tmp_path):
    def get(attribute="dark_skin", **options):
        return vector_files.kept_or_computed(tmp_path, people.model, people.dataset, attribute, **options)

    first = get()
    path = tmp_path / "attributes" / "dark_skin-30.npz"
    assert list((tmp_path / "attributes").iterdir()) == [path]
    zero = dataclasses.replace(first, direction=jax.tree.map(np.zeros_like, first.direction))
    vector_files.save(path, zero)
    assert_trees_close(get().direction, zero.direction)
    assert_trees_close(get(recompute=True).direction, first.direction)
    assert_trees_close(get().direction, first.direction)
    # Other vectors have other files; where two names make one file name, the right one is computed.
    get(among="is_person")
    get(ema=False)
    get("caption:dark")
    assert get("caption: dark").attribute == "caption: dark"
    names = {file.name for file in (tmp_path / "attributes").iterdir()}
    assert names == {
        "dark_skin-30.npz", "dark_skin-among-is_person-30.npz", "dark_skin-30-raw.npz", "caption_dark-30.npz",
    }  # fmt: skip
    path.write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=r"not an attribute vector .* --recompute makes it anew"):
        get()


def test_a_vector_of_another_model_of_the_same_shapes_is_refused(people, vector, tmp_path):
    vector_files.save(tmp_path / "dark.npz", vector)
    raw = glowdiff.load(people.workdir, ema=False)
    other = small.untrained(people.model.config, people.model.spec)
    for model in (raw, other):
        with pytest.raises(
            ConfigError, match=r"a vector of 'dark_skin' of another model: of arrays, step 30\. The latents"
        ):
            vector_files.load(tmp_path / "dark.npz", model)
    vector_files.load(tmp_path / "dark.npz", glowdiff.load(people.workdir))
    vector_files.save(tmp_path / "old.npz", dataclasses.replace(vector, model=""))
    with pytest.raises(ConfigError, match="of a model that it does not name"):
        vector_files.load(tmp_path / "old.npz", people.model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent_0": np.full((4, 4, 12), np.nan, np.float32)}, "numbers that are not finite"),
        ({"latent_0": np.full((4, 4, 12), -np.inf, np.float32)}, "numbers that are not finite"),
        ({"latent_0": np.zeros((4, 4, 12), np.int32)}, "numbers that are not finite"),
        ({"latent_0": np.full((4, 4, 12), "a")}, "numbers that are not finite"),
        ({"latent_0": np.zeros(10**6)}, "8,000,"),  # of a file of a few kilobytes
        ({"facts": "[]"}, "AttributeError"),
        ({"facts": "{"}, "JSONDecodeError"),
        ({"facts": "[" * 10**5}, "RecursionError"),
        ({"attribute": 3}, "attribute is 3"),
        ({"attribute": "a\nb\033[2J"}, "attribute is "),
        ({"step": "30"}, "step is '30'"),
        ({"step": True}, "step is True"),
        ({"images_with": None}, "images_with is None"),
        ({"more": 1}, "TypeError"),
    ],
)
def test_what_a_stranger_put_into_a_file_is_one_line(people, vector, tmp_path, changes, message):
    facts = {
        field.name: getattr(vector, field.name) for field in dataclasses.fields(vector) if field.name != "direction"
    }
    arrays = {"latent_0": np.zeros((4, 4, 12), np.float32)}
    facts |= {name: value for name, value in changes.items() if name not in ("facts", "latent_0")}
    arrays |= {"facts": np.array(json.dumps(facts))} | {n: v for n, v in changes.items() if n in ("facts", "latent_0")}
    np.savez_compressed(tmp_path / "v.npz", **arrays)
    with pytest.raises(ConfigError, match="is not an attribute vector of glowdiff") as error:
        vector_files.load(tmp_path / "v.npz", people.model)
    assert message in str(error.value)
    assert str(error.value).isprintable()


def test_a_folder_that_cannot_hold_the_vector_is_found_before_it_is_computed(people, tmp_path, monkeypatch):
    """Encoding all images takes hours."""
    shutil.copytree(people.workdir, tmp_path / "run")
    (tmp_path / "run" / "attributes").write_text("no folder")
    monkeypatch.setattr(vector_files, "attribute_vector", lambda *_, **__: pytest.fail("computed"))
    words = ("attribute", "--attribute=0", "--count=1", f"--workdir={tmp_path / 'run'}", f"--out={tmp_path}/a.png")
    assert "attributes is no folder" in typed(edit.main, *words).error
