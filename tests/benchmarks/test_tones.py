"""Skin tones told by colour, on drawings of flat colours."""

import numpy as np

from benchmarks.studies.tones import palette, seen_tones, tone_accuracy, tone_of
from glowdiff.data.sets.openmoji_names import TONES

COLOURS = np.array([[250, 220, 188], [222, 187, 144], [193, 154, 101], [165, 121, 57], [106, 70, 47]])


def drawing(colour, rows=4, other=(255, 255, 255)):
    image = np.full((8, 8, 3), other, np.uint8)
    image[:rows] = colour
    return image


def test_a_caption_asks_for_one_tone_or_none():
    assert [tone_of(f"waving hand: {tone} skin tone") for tone in TONES] == [0, 1, 2, 3, 4]
    assert tone_of("red heart") is None
    assert tone_of("kiss: woman, man, light skin tone, dark skin tone") is None


def test_the_palette_is_what_tells_tones_apart():
    images = np.stack([drawing(colour, rows=3) for colour in COLOURS for _ in range(2)])
    assert (palette(images, np.repeat(np.arange(5), 2)) == COLOURS).all()


def test_the_tone_is_that_of_the_skin_and_not_of_the_hair():
    images = np.stack([drawing(colour + 3) for colour in COLOURS] + [drawing(COLOURS[0], 3, COLOURS[3])])
    assert seen_tones(images, COLOURS).tolist() == [0, 1, 2, 3, 4, 0]


def test_a_picture_without_skin_is_wrong_and_a_caption_without_tone_does_not_count():
    images = np.stack([drawing(COLOURS[4]), drawing((0, 0, 255)), drawing((255, 0, 0))])
    captions = ["woman: dark skin tone", "woman: light skin tone", "red heart"]
    assert tone_accuracy(images, captions, COLOURS) == {"of a tone": 2, "right tone": 0.5}
    assert tone_accuracy(images[2:], captions[2:], COLOURS) == {"of a tone": 0, "right tone": None}
