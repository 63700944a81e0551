"""`sample.py` and `evaluate.py` on diffusion models and classifiers."""

from __future__ import annotations

import numpy as np
from PIL import Image

from glowdiff.diffusion.config import DiffusionConfig
from glowdiff.pictures.files import grid
from tests import small


def test_samples_with_a_sampler_a_guide_and_a_film(diffusion_workdir, classifier_workdir, tmp_path):
    result = small.command(
        "sample.py", f"--workdir={diffusion_workdir}", "--num=4", "--label=3", "--sampler=dpmpp_2m", "--steps=5",
        "--spacing=log_snr", "--guidance_scale=2", f"--classifier={classifier_workdir}", "--classifier_scale=0.5",
        f"--out={tmp_path}/samples.npz", f"--film={tmp_path}/film.gif",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "4 samples of" in result.stdout
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


# As if `sample.py` were started with one flag after the other, in one process.
REFUSING = """
import sys
from absl import flags
import sample
for flag in sys.argv[2:]:
    flags.FLAGS(["sample.py", sys.argv[1], flag])
    try:
        sample.main([])
    except Exception as error:
        print(type(error).__name__, error)
    flags.FLAGS[flag.partition("=")[0].lstrip("-")].unparse()
"""
REFUSED = {
    "--film=film.mp4": "--film is film.mp4; it must end in .gif",
    "--label=three": '--label is three; it must be the number of a class, or "none"',
    "--classifier_scale=2": "--classifier_scale is given, but no --classifier",
    "--frames=4": "--frames is given, but no --film",
    "--low_res=small.png": "is no super-resolution model",
}


def test_flags_that_do_not_fit_are_refused(diffusion_workdir):
    result = small.command("-c", REFUSING, f"--workdir={diffusion_workdir}", *REFUSED)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.strip().splitlines()
    for line, message in zip(lines, REFUSED.values(), strict=True):
        assert line.startswith("ConfigError")
        assert message in line


def test_every_option_of_sampling_is_a_flag():
    text = (small.ROOT / "sample.py").read_text()
    for key in DiffusionConfig.sampling_keys:
        assert f'"{key}": flags.DEFINE_' in text, key


def test_evaluation_gives_loss_and_bound(diffusion_workdir):
    result = small.command("evaluate.py", f"--workdir={diffusion_workdir}", "--steps=5", "--images=16", "--batch=16")
    assert result.returncode == 0, result.stderr
    assert "test loss: " in result.stdout
    assert "test bits/dim: " in result.stdout
    assert "(16 images, step 4)" in result.stdout


def test_evaluation_of_a_classifier_gives_accuracies(classifier_workdir):
    result = small.command("evaluate.py", f"--workdir={classifier_workdir}", "--images=16", "--batch=16")
    assert result.returncode == 0, result.stderr
    assert "test accuracy: " in result.stdout
    assert "test accuracy clean: " in result.stdout
    assert "bits/dim" not in result.stdout
