"""What samples are told, batch by batch."""

from __future__ import annotations

import numpy as np

from glowdiff.cli.drawing import Drawing


def test_prompts_and_images_are_taken_in_turns_whatever_the_batches():
    images = np.arange(2)[:, None]
    drawing = Drawing(None, None, {"guidance_scale": 2.0}, {"prompt": ["a", "b", "c"], "low_res": images})
    whole = drawing.choices(np.arange(5))
    assert whole["prompt"] == ["a", "b", "c", "a", "b"]
    assert whole["low_res"].ravel().tolist() == [0, 1, 0, 1, 0]
    rest = drawing.choices(np.arange(3, 5))
    assert (rest["prompt"], rest["low_res"].ravel().tolist()) == (["a", "b"], [1, 0])
    assert rest["guidance_scale"] == whole["guidance_scale"] == 2.0
