"""`evaluate.py --metrics`, as a person types it, on toys: every flag, every source of references, every mistake."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from PIL import Image

from glowdiff.cli import evaluate, sample
from glowdiff.data.dataset import load as load_data
from glowdiff.inference.drawer import Drawer
from glowdiff.inference.model import Model
from glowdiff.metrics.figures import METRICS
from glowdiff.metrics.frechet import frechet_distance, frechet_distance_of_features, frechet_infinity
from glowdiff.metrics.images import as_colours
from glowdiff.metrics.inception_score import inception_score
from glowdiff.metrics.look import Look
from glowdiff.metrics.moments import Gaussian
from glowdiff.metrics.neighbours import neighbourhoods
from glowdiff.networks.feature_networks import FEATURE_NETWORKS
from glowdiff.trained import restore
from tests import small, toys
from tests.cli.typed import Result, typed
from tests.metrics import tiny


class Place:
    """A toy that draws, a network that measures, and what they make together."""

    def __init__(self, folder, data, **changes):
        self.folder, self.data = folder, data
        self.model = small.untrained_workdir(folder / "model", toys.toy_config(data, **changes))
        self.network = tiny.workdir(folder / "network", "inception")

    def measure(self, *words: str, metrics: str = "fid", model: bool = True, **flags: object) -> Result:
        common = {"metrics": metrics, "features": self.network, "batch": 8}
        common |= {"workdir": self.model, "samples": 20} if model else {}
        return typed(evaluate.main, *(f"--{name}={value}" for name, value in (common | flags).items()), *words)

    def features(self, images: np.ndarray) -> np.ndarray:
        return tiny.features(np.asarray(restore(self.network).variables["params"]["weights"]), as_colours(images, 17))

    def samples(self, *words: str) -> np.ndarray:
        out = self.folder / "samples.npz"
        assert typed(sample.main, f"--workdir={self.model}", "--num=20", f"--out={out}", *words).code == 0
        return np.load(out)["arr_0"]


@pytest.fixture
def place(tmp_path, toy, monkeypatch) -> Place:
    monkeypatch.setenv("GLOWDIFF_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(FEATURE_NETWORKS, "inception", tiny.TinyInception)
    return Place(tmp_path, toy)


def figures(result: Result) -> dict[str, float]:
    """Of the line of JSON, without their conventions."""
    assert result.code == 0, result.err
    return {name.partition("_inception")[0]: value for name, value in said(result)["figures"].items()}


def said(result: Result) -> dict:
    return json.loads(result.out.splitlines()[-1])


def looks(monkeypatch) -> list[str]:
    """What is looked at from now on."""
    found, look = [], Look.__call__
    monkeypatch.setattr(
        Look, "__call__", lambda self, images, *rest: found.append(images.name) or look(self, images, *rest)
    )
    return found


# ---- What is measured.


def test_figures_of_samples_are_those_of_the_samples_that_are_drawn(place):
    result = place.measure(metrics="fid,sfid,is,is_adm,prdc")
    found = figures(result)
    assert list(found) == [
        figure for name in ("fid", "sfid", "is", "is_adm", "prdc") for figure in METRICS[name].conventions
    ]
    seen, real = place.features(place.samples()), place.features(place.data.images[place.data.train])
    assert found["fid"] == pytest.approx(frechet_distance_of_features(seen, real), rel=1e-3)
    assert found["is"] == pytest.approx(inception_score(9 * seen).mean, rel=1e-4)
    assert found["precision"] == neighbourhoods(real, seen).precision
    assert found["coverage"] == neighbourhoods(real, seen, k=5, closed=False).coverage


def test_autoencoders_are_measured_by_what_they_give_back(place, autoencoder_workdir):
    """Reconstructions of the first test images, compared with these: rFID."""
    result = place.measure(metrics="fid,prdc", workdir=autoencoder_workdir, samples=30)
    found, model = figures(result), restore(autoencoder_workdir)
    test = load_data(model.config.data).test
    real = np.stack([test[row]["image"] for row in range(30)])
    back = Model(model).sample(jax.random.key(0), 30, original=real)
    expected = frechet_distance_of_features(place.features(back), place.features(real))
    assert found["fid"] == pytest.approx(expected, rel=1e-3)
    assert "reconstructions of test images" in result.out
    assert "reference  digits, test split, 30 images" in result.out
    assert "the test set has 360 images" in place.measure(workdir=autoencoder_workdir, samples=361).err


def test_every_figure_says_what_it_is(place):
    result = place.measure(metrics="fid,is")
    network, samples, reference, fid, *_, last = result.out.splitlines()
    assert network == "network    inception, images prepared the way tensorflow"
    assert samples == f"samples    20 of {place.model}, step 0, seed=0"
    assert reference == f"reference  {place.data.path}, training split, 32 images"
    assert fid.startswith("fid_inception_tensorflow_20_vs_toy_train  ")
    assert fid.endswith("  squared Fréchet distance, covariances over n - 1")
    names = ["fid_inception_tensorflow_20_vs_toy_train", "is_inception_tensorflow_20"]
    assert list(json.loads(last)["figures"]) == [*names, "is_deviation_inception_tensorflow_20"]


def test_samples_are_drawn_as_the_flags_of_sampling_say(place):
    plain, cold, other, clean = (
        figures(place.measure(*words)) for words in ([], ["--temperature=0.1"], ["--seed=3"], ["--prepare=clean"])
    )
    real = place.features(place.data.images[place.data.train])
    cold_ones = place.features(place.samples("--temperature=0.1"))
    assert cold["fid"] == pytest.approx(frechet_distance_of_features(cold_ones, real), rel=1e-3)
    assert len({each["fid"] for each in (plain, cold, other, clean)}) == 4
    assert figures(place.measure(batch=20))["fid"] == pytest.approx(plain["fid"], rel=1e-6)


def test_samples_in_a_file_need_no_model(place):
    drawn = figures(place.measure())["fid"]
    place.samples()
    file = {"samples_file": place.folder / "samples.npz", "reference": place.data.path, "model": False}
    train = {**file, "reference": place.folder / "train.npz"}
    np.savez(train["reference"], arr_0=place.data.images[place.data.train], levels=17)
    assert figures(place.measure(**train))["fid"] == pytest.approx(drawn, rel=1e-6)
    assert said(place.measure(**train))["of"] == str(file["samples_file"])
    assert figures(place.measure(**train, samples=9))["fid"] != drawn


def test_a_folder_is_all_of_its_images(place):
    pictures = as_colours(place.data.images, 17)
    (place.folder / "pictures").mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(place.folder / "pictures" / f"{number}.png")
    result = place.measure(samples_file=place.folder / "pictures", reference=place.folder / "pictures", model=False)
    assert figures(result)["fid"] == pytest.approx(0, abs=1e-9)
    assert list(said(result)["figures"]) == [f"fid_inception_tensorflow_{len(pictures)}_vs_pictures"]


def test_a_data_set_is_its_training_split(place):
    assert "fid_inception_tensorflow_20_vs_digits_train" in said(place.measure(reference="digits"))["figures"]


def test_fid_infinity_is_read_off_a_line(place):
    found = figures(place.measure(metrics="fid,fid_infinity", samples=5_010, batch=5_010))
    out = place.folder / "many.npz"
    assert typed(sample.main, f"--workdir={place.model}", "--num=5010", "--batch=5010", f"--out={out}").code == 0
    real = place.features(place.data.images[place.data.train])
    expected = frechet_infinity(place.features(np.load(out)["arr_0"]), Gaussian(real.mean(0), np.cov(real.T)))
    assert found["fid_infinity"] == pytest.approx(expected, rel=1e-2, abs=1e-4)
    assert found["fid_infinity"] != found["fid"]


# ---- References.


def statistics(rng, width):
    rows = rng.normal(size=(50, width))
    return rows.mean(0), np.cov(rows.T)


def test_statistics_in_a_file_go_before_its_images(place):
    mu, sigma = statistics(np.random.default_rng(0), tiny.WIDTH)
    mu_s, sigma_s = statistics(np.random.default_rng(1), 6)
    path = place.folder / "VIRTUAL_toy.npz"
    np.savez(path, arr_0=place.data.images, levels=17, mu=mu, sigma=sigma, mu_s=mu_s, sigma_s=sigma_s)
    result = place.measure(metrics="fid,sfid,prdc", reference=path)
    seen = place.features(place.samples())
    expected = frechet_distance(Gaussian(seen.mean(0), np.cov(seen.T)), Gaussian(mu, sigma))
    assert figures(result)["fid"] == pytest.approx(expected, rel=1e-5)
    assert figures(result)["precision"] == neighbourhoods(place.features(place.data.images), seen).precision
    assert said(result)["reference"] == f"{path}, statistics of pool3, spatial and {len(place.data.images)} images"


def test_what_is_seen_in_a_reference_is_kept_until_it_changes(place, monkeypatch):
    looked = looks(monkeypatch)
    first = figures(place.measure(metrics="fid,prdc"))
    assert looked == ["toy_train", "samples"]
    assert figures(place.measure(metrics="fid,prdc")) == first
    assert looked == ["toy_train", "samples", "samples"]
    kept = next((place.folder / "data" / "statistics").rglob("pool3_gaussian.npz"))
    kept.write_bytes(kept.read_bytes()[:99])
    assert figures(place.measure(metrics="fid")) == {"fid": first["fid"]}
    place.measure("--prepare=clean")
    place.data.fill(3)
    assert figures(place.measure(metrics="fid"))["fid"] != first["fid"]
    assert looked[3:] == ["toy_train", "samples"] * 3


# ---- Samples that are kept.


def test_an_interrupted_evaluation_goes_on(place, monkeypatch):
    plain, keep = figures(place.measure()), place.folder / "kept"
    assert figures(place.measure(keep=keep)) == plain
    assert sorted(file.name for file in keep.glob("*.npz")) == ["00000000.npz", "00000008.npz", "00000016.npz"]
    kept = np.concatenate([np.load(file)["arr_0"] for file in sorted(keep.glob("*.npz"))])
    np.testing.assert_array_equal(kept, place.samples())
    (keep / "00000008.npz").unlink()
    batches, draw = [], Drawer.__call__
    monkeypatch.setattr(Drawer, "__call__", lambda self, *args, **more: batches.append(1) or draw(self, *args, **more))
    assert figures(place.measure(keep=keep)) == plain
    assert len(batches) == 1
    assert figures(place.measure(keep=keep, samples=23)) != plain  # the last batch holds too few
    assert len(batches) == 2
    assert "which holds other samples: they differ in batch, seed." in place.measure(
        "--seed=1", keep=keep, batch=4
    ).error.replace(str(keep), "")
    assert "which holds something else; give a new folder" in place.measure(keep=place.folder).error


# ---- Mistakes.


@pytest.fixture
def files(place):
    """By name, what no reference or sample should be."""
    rng, folder = np.random.default_rng(0), place.folder
    (mu, sigma), (fitting, covariance) = statistics(rng, 3), statistics(rng, tiny.WIDTH)
    images = place.data.images
    made = {
        "wide": {"mu": mu, "sigma": sigma}, "alone": {"mu": fitting, "sigma": covariance},
        "large": {"arr_0": np.zeros((9, 16, 16, 3), np.uint8)}, "floats": {"arr_0": np.full((9, 8, 8, 1), np.nan)},
        "one": {"arr_0": images[:1], "levels": 17}, "bright": {"arr_0": images + 9, "levels": 9}, "none": {"a": mu},
        "six": {"arr_0": np.zeros((9, 8, 8, 6), np.uint8)}, "levels": {"arr_0": images, "levels": 1.5},
    }  # fmt: skip
    for name, arrays in made.items():
        np.savez(folder / f"{name}.npz", **arrays)
    return {name: folder / f"{name}.npz" for name in made}


def test_what_cannot_be_compared_is_said(place, files):
    samples = {"model": False, "reference": place.data.path}
    for flags, message in (
        ({"reference": files["wide"]}, "the features here have width 5. Are they of another network or layer?"),
        ({"reference": files["none"]}, "which holds a, but no mu and no sigma."),
        ({"reference": files["alone"], "metrics": "prdc"}, "statistics alone; --metrics asks for features of each"),
        ({"reference": files["alone"], "metrics": "sfid"}, "but no mu_s and no sigma_s."),
        ({"reference": files["large"]}, "has images of 16x16 pixels, but the samples have 8x8; resizing would be"),
        ({"reference": files["one"]}, "the reference's images are 1, but fid needs at least 2."),
        ({"reference": "cifra10"}, "did you mean cifar10"),
        ({"reference": "no/such/folder"}, "--reference is no/such/folder, where there is no folder."),
        ({"keep": "gs://bucket/kept"}, "it must be a folder that all processes see."),
        ({"reference": files["one"], "metrics": "is"}, "--reference is given, but no metric compares."),
        ({**samples, "samples_file": files["floats"]}, "arr_0 is float64 [9, 8, 8, 1]; it must be uint8 [N, H, W, C]"),
        ({**samples, "samples_file": files["one"]}, "the samples are 1, but fid needs at least 2."),
        ({**samples, "samples_file": files["bright"]}, "whose levels are 9, but a pixel is 24."),
        ({**samples, "samples_file": files["none"]}, "which holds a, but no arr_0."),
        ({**samples, "samples_file": files["six"]}, "whose arr_0 has 6 channels; pictures are measured, of 1 or 3."),
        ({**samples, "samples_file": files["levels"]}, "whose levels are"),
        ({**samples, "samples_file": files["large"], "samples": 99}, "99 images of"),
        ({"samples": 1}, "the samples are 1, but fid needs at least 2."),
        ({"samples": 9, "metrics": "is"}, "the samples are 9, but is needs at least 10."),
        ({"metrics": "kid"}, "the samples are 20, but kid needs at least 1,000."),
        ({"metrics": "fid,fdi"}, "--metrics is 'fdi'; it must be one of"),
        ({"metrics": ","}, "--metrics is empty"),
        ({"metrics": "fd"}, "of FID's Inception it is fid."),
        ({"metrics": "cmmd"}, "which is defined of a published CLIP alone, but --features names FID's Inception."),
        ({"features": "incepton:a.pth"}, "networks are inception, ViT-B/32"),
        ({"features": "incepton:a.pth"}, "Did you mean inception?"),
        ({"features": "inception"}, "it must name a file of its weights too: --features=inception:FILE."),
        ({"features": "dinov2:a.pth"}, "Which one is it? dinov2_vits14"),
        ({"features": "efficientnet_lite0:a.pth"}, "--features is a.pth, where there is no file"),
        ({"features": place.model}, "a model of method toy, which measures no images."),
        ({"prepare": "claen"}, "prepare is 'claen'; it must be one of tensorflow, clean. Did you mean 'clean'?"),
        ({"workdir": place.network}, "which draws no samples."),
        ({"label": 3}, "label is given, but this model was not trained with labels"),
    ):
        assert message in place.measure(**flags).error, flags


WITH = ["--metrics=fid", "--features=inception:a"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workdir=a", "--features=b"], "--features is given, but no --metrics."),
        (["--workdir=a", "--keep=b"], "--keep is given, but no --metrics."),
        (["--workdir=a", "--guidance_scale=2"], "--guidance_scale is given, but no --metrics."),
        (["--samples_file=a.npz"], "--workdir is missing: What `glowdiff train` wrote."),
        (["--metrics=fid", "--workdir=a"], "--features is missing: it names the network that measures"),
        ([*WITH, "--workdir=a", "--images=3"], "with --metrics, --samples counts samples."),
        ([*WITH, "--workdir=a", "--samples_file=b.npz"], "both were given."),
        (WITH, "neither was given."),
        ([*WITH, "--samples_file=b.npz", "--steps=9"], "--steps is given, but nothing is drawn"),
        ([*WITH, "--samples_file=b.npz", "--noema"], "--ema is given, but nothing is drawn"),
        ([*WITH, "--workdir=a", "--clip_scale=2"], "--clip_scale is given, but no --clip."),
        ([*WITH, "--workdir=a", "--samples=0"], "--samples is 0; it must be from 1 to 2147483647."),
    ],
)
def test_flags_that_do_not_go_together(words, message):
    assert message in typed(evaluate.main, *words).error


def test_a_reference_is_needed_without_a_model(place):
    place.samples()
    file = {"model": False, "samples_file": place.folder / "samples.npz"}
    assert "--reference is missing" in place.measure(**file).error
    assert figures(place.measure(**file, metrics="is"))["is"] > 1
    assert said(place.measure(**file, metrics="is"))["reference"] is None


def test_samples_that_are_not_finite_are_counted_and_named(tmp_path, place, toy):
    lost = Place(tmp_path / "lost", toy, model__nonfinite=2)
    error = lost.measure().error
    assert "2 of 8 samples are not finite (NaN or infinite)" in error
    assert "of the samples from 0 on, numbers 0, 1." in error
    result = lost.measure("--allow_nonfinite", keep=tmp_path / "kept")
    assert said(result)["not_finite"] == 6  # two of each batch
    assert "; 6 of them not finite" in result.out
    assert not list((tmp_path / "kept").glob("*.npz"))


def test_distances_by_other_networks_are_not_called_fid(place):
    dino, clip = (tiny.workdir(place.folder / name, name) for name in ("dinov2", "clip_vit"))
    names = said(place.measure(metrics="fd", features=dino))["figures"]
    assert list(names) == ["fd_dinov2_whole_20_vs_toy_train"]
    names = said(place.measure(metrics="cmmd", features=clip, prepare="whole"))["figures"]
    assert list(names) == ["cmmd_clip_vit_whole_20_vs_toy_train"]
    error = place.measure(metrics="fid", features=dino).error
    assert "--metrics has fid, which is defined of FID's Inception alone, but --features names dinov2" in error
    assert "The same distance in its features is fd." in error
