"""`python -m glowdiff import glow`: from a file of the original's variables to a workdir like any other."""

from __future__ import annotations

import dataclasses
import importlib
import json

import jax
import numpy as np
import pytest

import glowdiff
from glowdiff.catalog.methods import build_method
from glowdiff.catalog.parse import differences, parse
from glowdiff.cli.import_ import main
from glowdiff.importers.flags import read
from glowdiff.importers.glow import GLOW
from glowdiff.method import batch_shapes
from glowdiff.training.loop import train
from glowdiff.workdir import description as workdirs
from tests import small
from tests.importers.golden import described, load_glow

NAMES = ("glow_affine_invconv", "glow_additive_shuffle_ycond", "glow_affine_reverse")
_, GOLDEN, WEIGHTS = load_glow("glow_affine_reverse")
FLAGS = ",".join(f"{name}={value}" for name, value in GOLDEN.items())


def command(tmp_path, arrays, flags, **options):
    np.savez(tmp_path / "weights.npz", **arrays)
    text = flags if isinstance(flags, str) else json.dumps(flags)
    chosen = {"weights": tmp_path / "weights.npz", "flags": text, "workdir": tmp_path / "run"} | options
    return main(["glow", *(f"--{name}={value}" for name, value in chosen.items())])


def images(tmp_path, flags):
    """A data set of the model's shape and classes."""
    rng, side, classes = np.random.default_rng(0), flags["image_size"], flags.get("n_y", 10)
    path, count = tmp_path / "images.npz", max(40, 4 * classes)
    labels = np.arange(count, dtype=np.int32) % classes
    np.savez(path, arr_0=rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8), arr_1=labels)
    return path


@pytest.fixture(scope="module", params=NAMES)
def imported(request, tmp_path_factory):
    """A golden's arrays, its size and the workdir of its weights."""
    tmp_path = tmp_path_factory.mktemp(request.param)
    arrays, flags, weights = load_glow(request.param)
    assert command(tmp_path, weights, flags, data=images(tmp_path, flags)) == 0
    return arrays, tmp_path / "run", glowdiff.load(tmp_path / "run")


def test_the_workdir_computes_what_the_original_computes(imported):
    arrays, workdir, model = imported
    batch = {
        "image": arrays["in_x"],
        "noise": arrays["in_dequant_noise"],
        "cond": {"label": arrays["in_y"].astype(np.int32)},
    }
    bits = jax.jit(model.method.bits_per_dim)(model.variables, jax.random.key(0), batch)
    np.testing.assert_allclose(bits, arrays["out_bits_per_dim"], atol=1e-5, rtol=0)
    assert model.step == 0
    raw = glowdiff.load(workdir, ema=False)
    assert small.as_bytes(raw.variables) == small.as_bytes(model.variables)


def test_the_workdir_samples(imported):
    _, _, model = imported
    assert model.sample(jax.random.key(0), 2).shape == (2, *model.spec.shape)


def test_the_configuration_builds_the_same_variables(imported):
    _, workdir, model = imported
    config, spec = workdirs.read(workdir)
    shapes = jax.eval_shape(build_method(config, spec).init, jax.random.key(0), batch_shapes(spec, 2))
    found = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), model.variables)
    assert found == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), dict(shapes))


def test_training_goes_on(tmp_path, capsys):
    _, flags, weights = load_glow("glow_affine_reverse")
    assert command(tmp_path, weights, flags, data=images(tmp_path, flags), batch=8) == 0
    assert "sample.py" in capsys.readouterr().out
    config = workdirs.read(tmp_path / "run").config
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=1))
    metrics = train(config, tmp_path / "run")
    assert np.isfinite(metrics["test_bits_per_dim"])
    assert small.steps(tmp_path / "run") == [0, 1]
    imported, trained = (glowdiff.load(tmp_path / "run", step=step, ema=False) for step in (0, 1))
    assert small.as_bytes(imported.variables) != small.as_bytes(trained.variables)


def test_a_whole_checkpoint_with_averages_and_optimiser(tmp_path):
    _, flags, weights = load_glow("glow_affine_reverse")
    averages = {f"{name}/ExponentialMovingAverage": 2 * array for name, array in weights.items()}
    rest = {
        "Variable": np.float32(7),
        "Variable_12": np.zeros(3, np.float32),
        "model/0/0/f1/l_1/W/ExponentialMovingAverage/biased": np.zeros(3, np.float32),
    }
    everything = {f"{name}:0": array for name, array in (weights | averages | rest).items()}
    assert command(tmp_path, everything, flags, data=images(tmp_path, flags)) == 0
    raw, averaged = (glowdiff.load(tmp_path / "run", ema=ema).variables["params"] for ema in (False, True))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(2 * a, b), raw, averaged)


def test_flags_are_read_in_every_form_and_data_follow_the_problem(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOWDIFF_DATA", str(tmp_path / "none"))
    _, flags, weights = load_glow("glow_affine_reverse")
    text = f"problem=cifar10,{FLAGS.replace(',learntop=True', ',learntop')},lr=0.1"
    log = tmp_path / "train.txt"
    log.write_text(json.dumps(flags | {"problem": "cifar10", "lr": 0.1, "n_bins": 256.0}) + '\n{"epoch": 1}\n')
    for number, given in enumerate((text, str(log))):
        assert command(tmp_path, weights, given, workdir=tmp_path / str(number)) == 0
    (one, spec), (two, _) = (workdirs.read(tmp_path / str(number)) for number in range(2))
    assert dataclasses.replace(one, train=two.train) == two
    assert (one.data.name, one.data.flip, spec.shape) == (
        "cifar10",
        True,
        (flags["image_size"], flags["image_size"], 3),
    )
    assert one.model.n_bits is None


PUBLISHED = {
    "problem=cifar10,flow_coupling=1,learntop": "cifar10",
    "problem=imagenet-oord,image_size=32,depth=48,flow_coupling=1,learntop,n_batch_train=256": "imagenet32",
    "problem=imagenet-oord,n_levels=4,depth=48,flow_coupling=1,learntop,n_batch_train=1024": "imagenet64",
    "problem=lsun_realnvp,category=bedroom,depth=48,flow_coupling=1,learntop,n_batch_train=1024": "lsun64",
    "problem=celeba,n_levels=6,learntop,n_bits_x=5,n_batch_train=2560": "celebahq256",
}


@pytest.mark.parametrize("given", PUBLISHED, ids=PUBLISHED.get)
def test_published_flags_give_our_configuration(given):
    """What may differ is named: arithmetic, memory, and how long."""
    imported, _ = described(GLOW, read(given, {}))
    ours = importlib.import_module(f"configs.glow.{PUBLISHED[given]}").get_config()
    different = differences(imported, parse(ours))
    assert set(different) <= {"dtype", "model.memory", "model.init_images", "train.steps"}


@pytest.mark.parametrize("name", ["photos", "openmoji", "celeb_a", "lsun/bedroom"])
def test_data_that_come_in_many_sizes_are_asked_for_in_the_flags_size(name):
    assert described(GLOW, {"image_size": 64}, data=name)[0].data.size == 64
    assert described(GLOW, {"image_size": 32}, data="cifar10")[0].data.size is None


SIZE, DEPTH = GOLDEN["image_size"], GOLDEN["depth"]
TOO_OFTEN = (SIZE & -SIZE).bit_length()  # that its side can be halved
KERNELS = [f"model/0/{step}/f1/l_1/W" for step in range(DEPTH)]
HEIGHT, WIDTH, SEEN, FEATURES = WEIGHTS[KERNELS[0]].shape  # the last of what is seen is the edge
MISTAKES = {
    "an unknown flag": (FLAGS + ",n_level=1", {}, "does not know of such a model. Did you mean n_levels?"),
    "a flag of another type": (FLAGS + ",depth=two", {}, "depth=two; it must be of type int"),
    "no such permutation": (FLAGS + ",flow_permutation=3", {}, "0 (reverse), 1 (shuffle), 2 (conv)"),
    "no such problem": (FLAGS + ",problem=cifar", {}, "must be one of cifar10, imagenet-oord"),
    "a size that cannot be halved": (f"{FLAGS},n_levels={TOO_OFTEN}", {}, f"must be a multiple of {2**TOO_OFTEN}"),
    "no size": ("n_levels=1", {}, "has no image_size"),
    "classes without a number": (FLAGS + ",ycond,n_y=-1", {}, "add n_y"),
    "no such file of flags": ("nothing.json", {}, "there is no file; it must be a JSON file"),
    "flags that are not JSON": ("{depth", {}, "--flags is not JSON"),
    "no data": (FLAGS, {"data": ""}, "--data=FILE.npz"),
    "data of another shape": (
        FLAGS,
        {"data": "digits"},
        f"8x8x1 with 17 levels; the flags ask for {SIZE}x{SIZE}x3 with 256",
    ),
    "data that do not exist": (FLAGS, {"data": "cifra10"}, "did you mean cifar10"),
    "data with other classes": (FLAGS + ",ycond,n_y=7", {}, "has 10 classes; the flags ask for n_y=7"),
    "another width": (
        f"{FLAGS},width={2 * FEATURES}",
        {},
        f"{', '.join(KERNELS[:2])}: {(DEPTH, HEIGHT, WIDTH, SEEN - 1, FEATURES)}, where",
    ),
    "another depth": (f"{FLAGS},depth={DEPTH + 1}", {}, f"Missing: model/0/{DEPTH}/actnorm_center/b"),
    "an impossible batch": (FLAGS, {"batch": -1}, "--batch is -1"),
    "no such weights": (FLAGS, {"weights": "nothing.npz"}, "--weights is nothing.npz, where there is no file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(tmp_path, capsys, mistake):
    flags, options, message = MISTAKES[mistake]
    data = {"data": images(tmp_path, {"image_size": SIZE})}
    assert command(tmp_path, WEIGHTS, flags, **(data | options)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


CHANNELS = WEIGHTS["model/prior/p/b"].size
BROKEN = {
    "pickles": (lambda w: w | {"model/x": np.array([{}], object)}, "pickled Python objects"),
    "text": (lambda w: w | {"model/x": np.array("a")}, "whose model/x is <U1; weights must be numbers"),
    "nan": (lambda w: w | {"model/prior/p/b": w["model/prior/p/b"] * np.nan}, "model/prior/p/b holds values that are"),
    "too few axes": (lambda w: w | {"model/0/0/f1/l_2/W": np.zeros(3)}, "model/0/0/f1/l_2/W: (3,)"),
    "integers": (
        lambda w: w | {"model/prior/p/b": np.zeros(CHANNELS, int)},
        f"({CHANNELS},) of integers, where the flags ask",
    ),
    "one too many": (lambda w: w | {"model/prior/q/b": np.zeros(3)}, "Not expected: model/prior/q/b."),
    "nothing": (lambda w: {"Variable": np.zeros(3)}, "holds no weights"),
    "an average of nothing": (
        lambda w: w | {"model/y/ExponentialMovingAverage": np.zeros(3)},
        "Averages of variables that are not there: model/y",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_weights_that_cannot_be_used_are_told(tmp_path, capsys, kind):
    change, message = BROKEN[kind]
    assert command(tmp_path, change(WEIGHTS), FLAGS, data=images(tmp_path, GOLDEN)) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"hello", "not an .npz file"), (b"PK\x03\x04rest", "a damaged .npz file")],
)
def test_files_that_are_no_archives_are_told(tmp_path, capsys, content, message):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    assert command(tmp_path, {}, FLAGS, weights=path, data=images(tmp_path, GOLDEN)) == 1
    assert message in capsys.readouterr().err


def test_a_workdir_that_is_not_empty_is_left_alone(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    assert command(tmp_path, WEIGHTS, FLAGS, data=images(tmp_path, GOLDEN)) == 1
    assert "is not empty; give a new one" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]
