"""The pictures that are edited."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from glowdiff.data.dataset import load as load_data
from glowdiff.editing.attributes import find
from glowdiff.editing.selection import choose_rows, from_test_set
from glowdiff.errors import ConfigError
from glowdiff.pictures.files import to_display, write_npz
from glowdiff.pictures.inputs import from_files, from_samples
from glowdiff.spec import DataSpec

COLOUR = DataSpec("colour", (16, 16, 3), 256, 1, 1)
SMALL = (4, 4, 3)


def save(path, pixels: np.ndarray) -> str:
    Image.fromarray(pixels).save(path)
    return str(path)


def test_a_file_of_the_model_s_own_images_is_read_as_they_are(digits, tmp_path):
    images = np.stack([load_data(digits.config.data).test[i]["image"] for i in range(3)])
    files = [save(tmp_path / f"{i}.png", to_display(image, 17)[..., 0]) for i, image in enumerate(images)]
    pictures = from_files(files, digits.spec)
    np.testing.assert_array_equal(pictures.images, images)
    assert pictures.names == ["0", "1", "2"]
    assert pictures.labels is None
    # In colour they are the same.
    coloured = save(tmp_path / "colour.png", np.repeat(to_display(images[0], 17), 3, -1))
    np.testing.assert_array_equal(from_files([coloured], digits.spec).images, images[:1])


def test_the_centre_is_cut_out_and_resized(tmp_path):
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64] = (200, 100, 50)
    pictures = from_files([save(tmp_path / "wide.png", wide)], COLOUR)
    assert pictures.images.shape == (1, 16, 16, 3)
    assert (pictures.images[0, :, 4:12] == np.array([200, 100, 50], np.uint8)[None, None]).all()
    # A model of wide images takes more of it.
    oblong = dataclasses.replace(COLOUR, shape=(16, 32, 3))
    images = from_files([save(tmp_path / "wide.png", wide)], oblong).images
    assert images.shape == (1, 16, 32, 3)
    assert (images[0, :, 0] == 0).all()
    assert (images[0, :, 16] == np.array([200, 100, 50], np.uint8)[None]).all()


def test_files_that_cannot_be_used_are_errors_that_name_them(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    good = save(tmp_path / "good.png", np.zeros((16, 16), np.uint8))
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:-20])
    for name, why in (
        ("text", "it is not an image"),
        ("empty", "the file is empty"),
        ("cut", "it cannot be read"),
        ("none", r"it cannot be read \(No such file or directory\)"),
    ):
        with pytest.raises(ConfigError, match=rf"--images: .*{name}\.png cannot be used: {why}"):
            from_files([good, str(tmp_path / f"{name}.png")], COLOUR)
    with pytest.raises(ConfigError, match="images have 4 channels; files have 1 or 3"):
        from_files([good], dataclasses.replace(COLOUR, shape=(16, 16, 4)))


def test_test_images_come_with_labels_and_names(people, digits):
    pictures = from_test_set(load_data(digits.config.data), [3, 17])
    test = load_data(digits.config.data).test
    np.testing.assert_array_equal(pictures.images, [test[3]["image"], test[17]["image"]])
    np.testing.assert_array_equal(pictures.labels, [test[3]["cond"]["label"], test[17]["cond"]["label"]])
    assert pictures.names == [f"{label} (test {row})" for label, row in zip(pictures.labels, (3, 17), strict=True)]
    assert from_test_set(people.dataset, [1]).names[0] == f"test 1: {people.dataset.test[1]['caption']}"
    with pytest.raises(ConfigError, match="--index: 360 does not exist; digits has test images 0 to 359"):
        from_test_set(load_data(digits.config.data), [0, 360])


def test_rows_are_drawn_among_those_that_fit(people):
    dataset = people.dataset
    person, dark = (find(name, dataset.spec) for name in ("is_person", "dark_skin"))
    rows = choose_rows(dataset, 5, 0)
    assert len(set(rows)) == 5
    assert rows == choose_rows(dataset, 5, 0) == choose_rows(dataset, 9, 0)[:5] != choose_rows(dataset, 5, 1)
    light = choose_rows(dataset, 3, 0, [person, lambda example: not dark(example)])
    assert all("light" in dataset.test[row]["caption"] for row in light)
    with pytest.raises(ConfigError, match=r"1000 test images that --among and --without leave are needed, but arrays"):
        choose_rows(dataset, 1000, 0, [person])


def test_images_to_enlarge_are_a_picture_or_another_model_s_samples(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    picture = from_samples(save(tmp_path / "a.png", np.full((8, 8, 3), 100, np.uint8)), COLOUR, SMALL, "--small")
    assert (picture.images.shape, picture.labels) == ((1, 4, 4, 3), None)
    assert (picture.images == 100).all()
    write_npz(tmp_path / "a.npz", pixels, np.arange(3), 256)
    samples = from_samples(f"{tmp_path}/a.npz", COLOUR, SMALL, "--small")
    np.testing.assert_array_equal(samples.images, pixels)
    np.testing.assert_array_equal(samples.labels, [0, 1, 2])
    for wrong, levels in ((pixels[:, :2], 256), (pixels // 16, 17)):
        write_npz(tmp_path / "b.npz", wrong, None, levels)
        with pytest.raises(
            ConfigError, match=r"--small is .*b.npz, which must hold arr_0, uint8 \[N, 4, 4, 3\] of 256"
        ):
            from_samples(f"{tmp_path}/b.npz", COLOUR, SMALL, "--small")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("arr_1", np.full(3, 3.7)), ("arr_1", np.full(3, 2**32 + 3)), ("arr_1", np.arange(2)), ("arr_1", np.full(3, "3")),
     ("arr_1", np.full(3, np.nan)), ("levels", np.array([256, 17])), ("levels", np.float32(256.5)),
     ("levels", np.array("a")), ("arr_0", np.zeros((0, 4, 4, 3), np.uint8)), ("arr_0", np.zeros((3, 4, 4, 3), "f4"))],
)  # fmt: skip
def test_arrays_of_another_kind_are_refused(tmp_path, name, wrong):
    """Labels that are no whole numbers would be taken for others."""
    np.savez(tmp_path / "a.npz", **{"arr_0": np.zeros((3, 4, 4, 3), np.uint8), "levels": np.int32(256), name: wrong})
    with pytest.raises(ConfigError, match=r"--small is .*a\.npz, wh"):
        from_samples(f"{tmp_path}/a.npz", COLOUR, SMALL, "--small")
