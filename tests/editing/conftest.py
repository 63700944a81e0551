"""Models to edit with: the digits of every test, and a class-conditional 5-bit Glow on people and things."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import glowdiff
from glowdiff.config.sections import Config
from glowdiff.data.dataset import Dataset
from glowdiff.data.dataset import load as load_data
from glowdiff.data.sources import Example, Source
from glowdiff.training.loop import train
from tests import small

PERSON, THING = 0, 1


class Described:
    """A split whose examples have attributes and captions, made from what is in the image."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        example = self.source[index]
        person = int(example["cond"]["label"]) == PERSON
        dark = person and example["image"][4, 4, 0] < 140
        caption = f"person: {'dark' if dark else 'medium-light'} skin tone" if person else "a blue thing"
        return {**example, "attributes": np.array([person, dark]), "caption": caption}


class People(NamedTuple):
    """A trained model, and its data with attributes and captions."""

    workdir: str
    model: glowdiff.Model
    dataset: Dataset

    def test_images(self, attribute: int) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of the held-out examples that have an attribute."""
        examples = [self.dataset.test[i] for i in range(len(self.dataset.test))]
        chosen = [example for example in examples if example["attributes"][attribute]]
        return np.stack([e["image"] for e in chosen]), np.stack([e["cond"]["label"] for e in chosen])


def draw_people(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces of a dark or a light skin, and blue things, on light ground: uint8 [count, 8, 8, 3], labels [count]."""
    rng = np.random.default_rng(0)
    images = rng.integers(225, 256, (count, 8, 8, 3))
    labels = rng.integers(0, 2, count)
    dark, light, blue = (110, 70, 40), (235, 190, 150), (60, 90, 220)
    for image, label in zip(images, labels, strict=True):
        colour = blue if label == THING else (dark if rng.random() < 0.5 else light)
        image[2:6, 2:6] = np.asarray(colour) + rng.integers(-12, 13, (4, 4, 3))
    return images.clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="session")
def people() -> People:
    """Tests only read it."""

    def configuration(folder: Path) -> Config:
        return small.glow_config(
            data__name="arrays", data__path=str(folder / "people.npz"), data__test_fraction=0.2,
            model__class_conditional=True, model__n_bits=5, train__steps=30, train__batch=32,
            train__checkpoint_every=30, eval__every=0, pictures__every=0,
        )  # fmt: skip

    def make(folder: Path) -> None:
        images, labels = draw_people(150)
        np.savez(folder / "people.npz", images, labels)
        train(configuration(folder), folder / "run")

    folder = small.once("people", make)
    plain = load_data(configuration(folder).data)
    spec = dataclasses.replace(plain.spec, attributes=("is_person", "dark_skin"), captions=True)
    dataset = Dataset(spec, Described(plain.train), Described(plain.test))
    return People(str(folder / "run"), glowdiff.load(folder / "run"), dataset)


@pytest.fixture(scope="session")
def digits(trained) -> glowdiff.Model:
    return glowdiff.load(trained.workdir)
