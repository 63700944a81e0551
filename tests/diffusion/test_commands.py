"""`sample.py` and `evaluate.py` on diffusion models and classifiers."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from glowdiff.cli import evaluate, sample
from glowdiff.pictures.files import grid
from tests import small
from tests.cli.typed import typed


def test_samples_with_a_sampler_a_guide_and_a_film(diffusion_workdir, classifier_workdir, tmp_path):
    result = typed(
        sample.main, f"--workdir={diffusion_workdir}", "--num=4", "--label=3", "--sampler=dpmpp_2m", "--steps=5",
        "--spacing=log_snr", "--guidance_scale=2", f"--classifier={classifier_workdir}", "--classifier_scale=0.5",
        f"--out={tmp_path}/samples.npz", f"--film={tmp_path}/film.gif",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "4 samples of" in result.out
    with np.load(tmp_path / "samples.npz") as stored:
        assert (stored["arr_0"].shape, stored["arr_0"].dtype) == ((4, 8, 8, 1), np.uint8)
        assert stored["arr_1"].tolist() == [3, 3, 3, 3]
        picture = grid(stored["arr_0"], 17)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.format == "GIF"
        assert film.n_frames <= 5  # as many as there are steps, but for those that look the same
        assert film.size[0] >= 256
        # It ends with the samples themselves.
        film.seek(film.n_frames - 1)
        last, factor = np.asarray(film.convert("RGB")), film.size[0] // picture.shape[1]
        np.testing.assert_array_equal(last[::factor, ::factor], picture)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--film=film.mp4", "--film is film.mp4; it must end in .gif"),
        ("--label=three", "--label is 'three', which is neither a number nor a class of digits"),
        ("--label=²", "--label is '²', which is neither a number nor a class of digits"),
        ("--label=12", "label 12 does not exist; this model knows 0 to 9"),
        ("--label=8589934592", "label 8589934592 does not exist"),
        ("--label=36893488147419103232", "label is "),
        ("--classifier_scale=2", "--classifier_scale is given, but no --classifier"),
        ("--frames=4", "--frames is given, but no --film"),
        ("--low_res=small.png", "takes none: it is what a super-resolution model enlarges"),
        ("--sampler=dmmp", "sampler is 'dmmp'; it must be one of"),
        ("--threshold=clap", "threshold is 'clap'; it must be one of clip, dynamic, none. Did you mean 'clip'?"),
        ("--temperature=nan", "temperature is nan; it must be from 0 to 100"),
        ("--temperature=1e9", "--temperature is 1000000000.0; it must be from 0 to 100"),
        ("--guidance_scale=nan", "--guidance_scale is nan; it must be from -10000 to 10000"),
        ("--guidance_scale=-1e38", "--guidance_scale is -1e+38; it must be from -10000"),
        ("--upsampler_guidance_scale=inf", "--upsampler_guidance_scale is inf; it must be from -10000"),
        ("--classifier_scale=nan", "--classifier_scale is nan; it must be from -10000 to 10000"),
        ("--clip_scale=-inf", "--clip_scale is -inf; it must be from -10000 to 10000"),
        ("--steps=1", "noisiest timestep is 0 of 19: x holds 100% of the data there"),
        ("--num=1000000", "--num is 1000000: a picture of 1,000,000 small ones of 8x8 pixels is more than"),
        ("--num=9999999999", "--num is 9999999999; it must be at most 2147483647"),
        ("--step=-1", "step is -1; it must be at least 0"),
        ("--eta=none", "--eta is 'none'; it must be a number."),
        ("--guidance_from=2", "guidance_from is 2.0; it is a share, from 0 to 1."),
    ],
)
def test_flags_that_do_not_fit_are_refused(diffusion_workdir, word, message):
    assert message in typed(sample.main, f"--workdir={diffusion_workdir}", word).error


def test_a_flag_can_take_an_option_away(tmp_path):
    """`none` is not "as configured": guidance that is configured is then not computed."""
    config = small.diffusion_config(sampling__guidance_scale=3.0)
    workdir = small.untrained_workdir(tmp_path / "run", config, small.DIGITS)
    images = []
    for name, words in (("as", []), ("none", ["--guidance_scale=none"])):
        out = f"{tmp_path}/{name}.npz"
        result = typed(sample.main, f"--workdir={workdir}", "--num=2", "--label=3", f"--out={out}", *words)
        assert result.code == 0, result.err
        images.append(np.load(out)["arr_0"])
    assert (images[0] != images[1]).any()


def test_evaluation_gives_loss_and_bound(diffusion_workdir):
    result = typed(evaluate.main, f"--workdir={diffusion_workdir}", "--steps=5", "--images=16", "--batch=16")
    assert result.code == 0, result.err
    assert "test loss: " in result.out
    assert "test bits/dim: " in result.out
    assert "(16 images, step 4)" in result.out


def test_evaluation_of_a_classifier_gives_accuracies(classifier_workdir):
    result = typed(evaluate.main, f"--workdir={classifier_workdir}", "--images=16", "--batch=16")
    assert result.code == 0, result.err
    assert "test accuracy: " in result.out
    assert "test accuracy clean: " in result.out
    assert "bits/dim" not in result.out
