"""`glowdiff edit` on flows, as a person types it."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glowdiff.catalog.methods import build_method
from glowdiff.cli import edit
from glowdiff.data.dataset import load as load_data
from glowdiff.editing import commands
from glowdiff.editing.reconstruction import Reconstruction
from glowdiff.editing.selection import from_test_set
from glowdiff.editing.vectors import attribute_vector
from glowdiff.errors import ConfigError
from glowdiff.pictures.files import ATTRIBUTION_FILE, to_display
from glowdiff.spec import DataSpec
from glowdiff.workdir import description as workdirs
from tests import small
from tests.cli.typed import Result, typed

MISTAKES = {  # what is typed after the program's name, and what the line says; {0} is a workdir
    "no command": ("", "which command? The first argument is one of reconstruct, interpolate, temperature, attribute,"),
    "a misspelt command": ("interpolat", "there is no command 'interpolat'; the first argument is one of reconstruct"),
    "files without --images": ("reconstruct a.png", "what is 'a.png'? It belongs to no flag of glowdiff edit"),
    "another command's flag": ("temperature --mode=linear", "glowdiff edit temperature has no --mode. "),
    "images that temperatures do not need": ("temperature --images=a.png", "temperature has no --images."),
    "two sources": ("reconstruct --images=a.png --count=3", "--images was given, and --count, which chooses"),
    "two choices": ("reconstruct --index=3 --seed=3", "--index was given, and --seed"),
    "no attribute": ("attribute", "which attribute? Give --attribute, or --vector=FILE."),
    "two vectors": ("attribute --vector=v.npz --recompute", "--vector was given, and --recompute"),
    "a filter of what is given": (
        "attribute --vector=v.npz --among=3 --images=a.png",
        "with --vector and --images or --index both are given: leave --among out.",
    ),
    "no file": ("reconstruct --images=", "--images is ''; it must be names of files, such as --images=a.png,b.png."),
    "files behind an equals sign": ("reconstruct --images=a.png b.png", "write --images a.png b.png."),
    "a flag twice": ("reconstruct --count=3 --count=3", "--count is given twice"),
    "no pictures": ("reconstruct --count=0", "--count is 0; it must be at least 1."),
    "a file without a name": ("reconstruct --images=a.png,", "--images is 'a.png,'; it must be names of files"),
    "no range": ("attribute --attribute=3 --alpha=-1,1", "--alpha is '-1,1'; it must be START:STOP:N, such as 0:1:6"),
    "one column": ("attribute --attribute=3 --alpha=0:1:1", "--alpha is '0:1:1'; at least 2 columns are needed."),
    "a cold temperature": ("temperature --temperatures=-1:1:3", "none may be below 0"),
    "a heat": ("temperature --temperatures=0:1e9:3", "--temperatures is '0:1e9:3'; it may go as far as 100, not"),
    "no temperature": ("temperature --temperatures=0:nan:3", "--temperatures is '0:nan:3'; it must be START:STOP:N"),
    "far too far": ("attribute --attribute=3 --alpha=-1e38:1:3", "--alpha is '-1e38:1:3'; it may go as far as 1000"),
    "no factor": ("attribute --attribute=3 --scale=nan", "--scale is nan; it must be from -1000 to 1000."),
    "an infinite factor": ("attribute --attribute=3 --scale=-inf", "--scale is -inf; it must be from -1000 to 1000."),
    "many columns": ("temperature --temperatures=0:1:9999999999", "a picture of 9,999,999,999 small ones is more than"),
    "many alphas": ("attribute --attribute=3 --alpha=0:1:100000", "a picture of 100,000 small ones is more than"),
    "many steps": ("interpolate --count=1 --steps=100000", "1 rows of 100,000: a picture of 100,000 small ones of"),
    "many rows": ("temperature --count=2000", "2,000 rows of 6: a picture of 12,000 small ones of 96x96"),
    "a seed that is another's": ("temperature --seed=4294967296", "--seed is 4294967296; it must be from 0 to 429"),
    "an unknown mode": ("interpolate --mode=slerp", "--mode is 'slerp'; it must be one of linear, spherical."),
    "another kind of picture": ("reconstruct --out=grid.jpg", "--out is grid.jpg; it must end in .png."),
    "labels of test images": ("reconstruct --label=3", "--label says of which class the --images are"),
    "a label for nothing": ("temperature --label=3", "--label was given, but this model was not trained with labels"),
    "an index that is no number": ("reconstruct --index=three", "--index is 'three'; it must be numbers"),
    "an index that does not exist": ("reconstruct --index=360", "--index: 360 does not exist; digits has"),
    "an odd number of images": ("interpolate --index=1,2,3", "--index names 3; interpolate takes pairs"),
    "an odd number of files": ("interpolate --images=a.png", "--images names 1; interpolate takes pairs"),
    "a missing file": ("reconstruct --images none.png", "--images: none.png cannot be used: it cannot be read"),
    "an unknown attribute": ("attribute --attribute=33", "--attribute is '33', but digits knows 3, 0, 1, 2, 4"),
    "an unknown filter": ("attribute --attribute=3 --among=odd", "--among is 'odd', but digits knows"),
    "a missing vector": ("attribute --vector=none.npz --count=1", "none.npz is to be an attribute vector, but"),
    "a misspelt flag": ("reconstruct --cuont=3", "glowdiff edit reconstruct has no --cuont. Did you mean --count?"),
}  # fmt: skip


@pytest.fixture(scope="module")
def mistakes(trained, tmp_path_factory) -> dict[str, Result]:
    folder = tmp_path_factory.mktemp("mistakes")
    base, out = [f"--workdir={trained.workdir}"], f"--out={folder / 'grid.png'}"
    results = {}
    for name, (text, _) in MISTAKES.items():
        command, *words = text.split() or [""]
        results[name] = typed(
            edit.main, *([command] if command else []), *words, *base, *([] if "--out" in text else [out])
        )
    assert list(folder.iterdir()) == []
    return results


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_to_change(mistakes, name):
    assert MISTAKES[name][1] in mistakes[name].error


@pytest.fixture(scope="module")
def outputs(trained, digits, tmp_path_factory) -> tuple[dict[str, Result], Path]:
    folder = tmp_path_factory.mktemp("grids")
    test = load_data(digits.config.data).test
    for row in range(2):
        Image.fromarray(to_display(test[row]["image"], 17)[..., 0]).save(folder / f"{row}.png")
    files = [str(folder / "0.png"), str(folder / "1.png")]
    vector = trained.workdir / "attributes" / "3-4.npz"
    lines = {
        "reconstruct": ["reconstruct", "--count=3"],
        "interpolate": ["interpolate", "--steps=3", "--mode=spherical", "--images", *files],
        "commas": ["interpolate", "--steps=3", "--mode=spherical", f"--images={','.join(files)}"],
        "temperature": ["temperature", "--count=2", "--temperatures=0:1:3"],
        "attribute": ["attribute", "--attribute=3", "--count=2", "--alpha=-1:1:3", "--without"],
        "vector": ["attribute", f"--vector={vector}", "--count=2", "--alpha=-1:1:3", "--seed=1"],
    }
    base = f"--workdir={trained.workdir}"
    results = {name: typed(edit.main, *line, base, f"--out={folder / name}.png") for name, line in lines.items()}
    by_somebody = folder / "by somebody"
    shutil.copytree(trained.workdir, by_somebody / "run")
    config, spec = workdirs.read(by_somebody / "run")
    workdirs.write(by_somebody / "run", config, dataclasses.replace(spec, attribution="by somebody"))
    places = [f"--workdir={by_somebody / 'run'}", f"--out={by_somebody / 'grid.png'}"]
    results["attribution"] = typed(edit.main, *lines["temperature"], *places)
    vector.unlink()  # others share the workdir
    vector.parent.rmdir()
    return results, folder


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("reconstruct", r"3 images reconstructed, error before rounding .* .* 100% of the pixels exact"),
        ("interpolate", "1 spherical interpolation in 3 steps"),
        ("temperature", "2 noises at temperatures 0 0.5 1"),
        ("attribute", r"2 images moved along 3 \(147 training images with it, 1,290 without\)"),
        ("vector", r"2 images moved along 3 \(147 training images with it, 1,290 without\)"),
    ],
)  # fmt: skip
def test_every_command_writes_a_picture_and_says_so_in_a_line(outputs, trained, name, line):
    result, folder = outputs[0][name], outputs[1]
    assert result.code == 0, result.err
    with Image.open(folder / f"{name}.png") as picture:
        assert picture.mode == "RGB"
        assert min(picture.size) > 100
    assert re.fullmatch(rf"{line}; {trained.workdir}, step 4: {folder / name}.png\n", result.out), result.out


def test_files_may_be_listed_either_way(outputs):
    folder = outputs[1]
    assert (folder / "interpolate.png").read_bytes() == (folder / "commas.png").read_bytes()


def test_a_grid_carries_the_attribution_of_its_data(outputs):
    result, folder = outputs[0]["attribution"], outputs[1]
    assert result.code == 0, result.err
    with Image.open(folder / "by somebody" / "grid.png") as picture:
        assert picture.info["Copyright"] == "by somebody"
    assert (folder / "by somebody" / ATTRIBUTION_FILE).read_text() == "by somebody\n"
    assert not (folder / ATTRIBUTION_FILE).exists()  # digits ask for none


# ---- What the grids hold, of the class-conditional model.


class Grids:
    """Stands in for `labelled_grid` and keeps what it is asked to draw."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(commands, "labelled_grid", self)

    def __call__(self, images: np.ndarray, levels: int, **labels) -> np.ndarray:
        self.images, self.labels = images, labels
        return np.zeros((1, 1, 3), np.uint8)


def test_an_interpolation_starts_and_ends_with_its_images(people, monkeypatch):
    grids = Grids(monkeypatch)
    pictures = from_test_set(people.dataset, [0, 1, 2, 3])
    commands.interpolate(people.model, pictures, steps=5)
    coarse = pictures.images // 8 * 8
    assert grids.images.shape == (2, 5, 8, 8, 3)
    np.testing.assert_array_equal(grids.images[:, 0], coarse[::2])
    np.testing.assert_array_equal(grids.images[:, -1], coarse[1::2])
    assert (grids.images[:, 2] != coarse[::2]).any()
    assert grids.labels["columns"] == ["0", "0.25", "0.5", "0.75", "1"]


def test_an_attribute_at_alpha_zero_is_the_image_itself(people, monkeypatch):
    grids = Grids(monkeypatch)
    pictures = from_test_set(people.dataset, [0, 1, 2])
    vector = attribute_vector(people.model, people.dataset, "dark_skin")
    commands.attribute(people.model, pictures, vector, [-1, 0, 1], footer="by somebody")
    np.testing.assert_array_equal(grids.images[:, 1], pictures.images // 8 * 8)
    assert (grids.images[:, 0] != grids.images[:, 2]).any()
    assert grids.labels["footer"] == "by somebody"
    once = grids.images
    commands.attribute(people.model, pictures, vector, [-0.5, 0, 0.5], factor=2.0)
    np.testing.assert_array_equal(grids.images, once)


def test_temperatures_share_their_noise_and_begin_without_any(people, monkeypatch):
    grids = Grids(monkeypatch)
    commands.temperature(people.model, 3, [0, 0.5, 1], label=np.zeros(3, np.int32), footer="")
    images = grids.images
    assert (images[:, 0] == images[:1, 0]).all()
    assert (images[:, 2] != images[:1, 2]).any()
    assert grids.labels["rows"] == ["0 (noise 0)", "0 (noise 1)", "0 (noise 2)"]
    commands.temperature(people.model, 1, [1, 1], label=np.zeros(1, np.int32))
    assert np.abs(grids.images[0, 1].astype(int) - images[0, 2]).max() <= 8  # one bin of five bits
    commands.temperature(people.model, 8, [0, 1])
    assert {row[0] for row in grids.labels["rows"]} == {"0", "1"}  # classes are drawn where none is asked for


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_reconstruction_that_overflows_is_named(people, monkeypatch, value):
    pictures = from_test_set(people.dataset, [0, 1])
    error = np.zeros(pictures.images.shape, np.float32)
    error[1, 0, 0, 0] = value
    back = Reconstruction(pictures.images, error, True, 0.5)
    monkeypatch.setattr(commands, "round_trip", lambda model, images, label: back)
    with pytest.raises(ConfigError, match=rf"decoding the latents of {re.escape(pictures.names[1])} overflows"):
        commands.reconstruct(people.model, pictures)


def test_super_resolution_models_are_refused():
    spec = DataSpec("toy", (8, 8, 3), 256, 8, 8)
    config = small.diffusion_config(model__low_res=4, model__class_conditional=False, model__label_dropout=0.0)
    method = build_method(config, spec)
    for command in ("reconstruct", "interpolate", "temperature", "attribute"):
        with pytest.raises(ConfigError, match=f"{command} does not work with a super-resolution model"):
            commands.check_method(command, "diffusion", method)
    commands.check_method("sdedit", "diffusion", method)
