"""Latents that were prepared: encoded once, they train as the encoder itself does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from glowdiff.cli.prepare import main
from glowdiff.data import latents as kept
from glowdiff.data.dataset import load
from glowdiff.errors import ConfigError
from glowdiff.trained import restore_serving
from glowdiff.training import latents
from glowdiff.training.experiment import build
from glowdiff.training.loop import train
from tests import small


@pytest.fixture(scope="module")
def folder(autoencoder_workdir) -> Path:
    """Of all digits, plain and mirrored, by the command."""

    def make(folder: Path) -> None:
        words = [
            f"--codec={autoencoder_workdir}",
            f"--out={folder / 'run'}",
            "--flip",
            "--dtype=float32",
            "--batch=256",
        ]
        assert main(["latents", *words]) == 0

    return small.once("latents", make) / "run"


def config(codec: Path, **changes):
    usual = {"data__flip": True, "train__steps": 3, "eval__every": 0, "eval__images": 8, "pictures__every": 0}
    return small.latent_config(codec, **usual, **changes)


def test_training_from_them_equals_training_through_the_encoder(folder, autoencoder_workdir, tmp_path):
    """Mirrored at random, drawn with the same noise; a run may go on with the one or the other."""
    through, kept = config(autoencoder_workdir), config(autoencoder_workdir, data__latents=str(folder))
    train(through, tmp_path / "through")
    train(kept, tmp_path / "kept")
    runs = [small.log(tmp_path / name) for name in ("through", "kept")]
    assert [line["step"] for line in runs[0]] == [1, 2, 3]
    for one, other in zip(*runs, strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose(list(other.values()), list(one.values()), rtol=1e-4)
    train(small.replaced(through, train__steps=4), tmp_path / "kept")
    assert small.steps(tmp_path / "kept")[-1] == 4


def test_no_image_is_read(folder, autoencoder_workdir):
    experiment = build(config(autoencoder_workdir, data__latents=str(folder)))
    assert {*experiment.dataset.train[5]} == {"latents", "cond"}
    assert experiment.example_batch(4)["latents"].shape == (4, 4, 4, 4)
    plain = build(config(autoencoder_workdir)).dataset.train
    for index in (0, 7, len(plain) - 1):
        assert experiment.dataset.train[index]["cond"]["label"] == plain[index]["cond"]["label"]


def test_interrupted_it_goes_on(folder, autoencoder_workdir, tmp_path, monkeypatch):
    """Also within the mirrored images; in batches of another size the numbers are the same."""
    codec = restore_serving(autoencoder_workdir)
    written: list[int] = []
    write = kept.Store.write

    def fail(self, copy, start, *rest):
        if len(written) in (3, 7):
            written.append(-1)
            raise KeyboardInterrupt
        written.append(start)
        write(self, copy, start, *rest)

    monkeypatch.setattr(kept.Store, "write", fail)
    out, again = tmp_path / "out", {"mirrored": True, "dtype": "float32", "batch": 256}
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            latents.prepare(codec, codec.config.data, out, **again)
        with pytest.raises(ConfigError, match=r"images are encoded; the same `glowdiff prepare latents` again goes on"):
            build(config(autoencoder_workdir, data__latents=str(out)))
    latents.prepare(codec, codec.config.data, out, **again)
    number = len(load(codec.config.data).train)
    assert written.count(0) == 2, "once plain, once mirrored: nothing was encoded twice"
    assert number > 1024
    for name in (kept.PLAIN, kept.MIRRORED, kept.LABELS):
        np.testing.assert_array_equal(np.load(out / name), np.load(folder / name))


def test_halves_are_small_and_near(folder, autoencoder_workdir, tmp_path):
    codec = restore_serving(autoencoder_workdir)
    out = latents.prepare(codec, codec.config.data, tmp_path / "half", batch=256)
    half, full = np.load(out / kept.PLAIN), np.load(folder / kept.PLAIN)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, full, atol=2e-3)
    assert not (out / kept.MIRRORED).exists()


def test_what_does_not_fit_is_refused(folder, autoencoder_workdir, tmp_path):
    def refused(message: str, **changes) -> None:
        with pytest.raises(ConfigError, match=message):
            build(config(autoencoder_workdir, **{"data__latents": str(folder), **changes}))

    refused("holds no latents.json", data__latents=str(tmp_path))
    refused("data.shift is 1, but data.latents holds images that are not shifted", data__shift=1)
    refused("model.inpaint is on, for which training needs the images themselves", model__inpaint=True)
    refused("prepared of other images: data.size was None, here 8", data__size=8)
    other = small.untrained_workdir(tmp_path / "other", small.autoencoder_config(), small.DIGITS)
    with pytest.raises(ConfigError, match="which another autoencoder has encoded"):
        build(config(other, data__latents=str(folder)))
    with pytest.raises(ConfigError, match=r"this model of method autoencoder sees pixels"):
        small.autoencoder_config(data__latents=str(folder))
    plain = tmp_path / "plain"
    plain.mkdir()
    header = json.loads((folder / kept.FILE).read_text()) | {"mirrored": False}
    header["done"] = header["number"]
    (plain / kept.FILE).write_text(json.dumps(header))
    refused("which holds no mirrored images; prepare them with --flip", data__latents=str(plain))
    (plain / kept.FILE).write_text("{}")
    refused("is damaged", data__latents=str(plain))


def test_the_command_names_what_is_wrong(folder, autoencoder_workdir, tmp_path, capsys):
    def said(*words: str) -> str:
        assert main(["latents", *words]) == 1
        return capsys.readouterr().err

    assert "--codec is missing" in said()
    assert "is not a workdir of glowdiff" in said(f"--codec={tmp_path}")
    codec = f"--codec={autoencoder_workdir}"
    assert "holds other latents: they differ in mirrored" in said(codec, f"--out={folder}", "--dtype=float32")
    assert "is not empty, and holds no latents" in said(codec, f"--out={autoencoder_workdir}")
    np.savez(tmp_path / "odd.npz", arr_0=np.zeros((20, 9, 8, 1), np.uint8), levels=np.int32(17))
    assert "it cannot encode images of 9x8x1" in said(codec, "--data=arrays", f"--path={tmp_path / 'odd.npz'}")
