"""Every configuration in configs/: it parses, says what it is, has the parameters it claims, and trains as `:smoke`."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import math
import re
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import glowdiff
from benchmarks.programs import sample_program
from glowdiff.catalog.methods import build_method
from glowdiff.catalog.parse import defaults, parse, to_json
from glowdiff.config.sections import MeshConfig
from glowdiff.data import dataset as datasets
from glowdiff.data.dataset import Dataset
from glowdiff.data.sources import Memory
from glowdiff.errors import ConfigError
from glowdiff.method import batch_shapes
from glowdiff.sharding import make_mesh
from glowdiff.spec import DataSpec
from glowdiff.text import tokenizer as tokenizers
from glowdiff.trained import Trained
from glowdiff.training import experiment as experiments
from glowdiff.training.experiment import Experiment
from glowdiff.training.loop import train
from tests import small

# configs/finetune.py takes a workdir instead of `:smoke`; tests/training/test_finetune.py has it.
CONFIGS = sorted((small.ROOT / "configs").glob("*/*.py"))
EMBEDDED = ("digits", "photos")
# Height, width, channels, number of classes of the sets that would have to be downloaded, or take long to prepare.
STOCK = {
    "mnist": (28, 28, 1, 10),
    "cifar10": (32, 32, 3, 10),
    "celeb_a": (64, 64, 3, 0),
    "downsampled_imagenet/32x32": (32, 32, 3, 0),
    "downsampled_imagenet/64x64": (64, 64, 3, 0),
    "lsun/bedroom": (64, 64, 3, 0),
    "lsun/church_outdoor": (64, 64, 3, 0),
    "celeb_a_hq/256": (256, 256, 3, 0),
    "openmoji": (32, 32, 3, 0),
    "imagenet2012": (64, 64, 3, 1000),
    "folder": (64, 64, 3, 0),
}
CAPTIONED = ("openmoji", "folder")
# Autoencoders, by the workdirs that configurations name.
CODECS = {
    "vq_f4": "autoencoder/vq_f4", "kl_f8": "autoencoder/kl_f8", "codec": "autoencoder/kl_f8",
    "openmoji_codec": "ldm/openmoji_codec",
}  # fmt: skip
# The ones that are compiled and run, of each kind; tests/diffusion trains diffusion models of its own.
RUN = ("glow/digits_conditional", "realnvp/digits", "nice/digits", "adm/classifier_digits",
       "adm/openmoji16_32")  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(small.ROOT / "configs").with_suffix("").as_posix()


def settings(path: Path, mode: str = "") -> Any:
    spec = importlib.util.spec_from_file_location("configuration", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(mode)


once_loaded = cache(datasets.load)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random pictures in place of downloads."""

    def load(config: Any) -> Dataset:
        if config.name in EMBEDDED:
            return real(config)
        height, width, channels, classes = STOCK[config.name]
        if config.size is not None:
            height = width = config.size
        rng = np.random.default_rng(0)

        def source(count: int) -> Memory:
            images = rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
            captions = ["a red heart"] * count if captioned else None
            return Memory(images, rng.integers(0, classes, count) if classes else None, captions=captions)

        names, captioned = tuple(str(label) for label in range(classes)), config.name in CAPTIONED
        spec = DataSpec(config.name, (height, width, channels), 256, 12, 3, names, captions=captioned)
        return Dataset(spec, source(12), source(3))

    real = once_loaded
    monkeypatch.setattr(datasets, "load", load)
    monkeypatch.setattr(experiments, "parts_of", lambda config, workdir: served(config))
    for published in ("gpt2", "clip"):
        monkeypatch.setattr(tokenizers, published, lambda: tokenizers.train(["a red heart"], 300))


def served(config: Any) -> dict[str, Trained]:
    """Shapes in place of the frozen models of a configuration, which are in workdirs that are not there."""
    parts = {}
    for name, source in config.model.frozen().items():
        if name == "codec":
            section = settings(small.ROOT / "configs" / f"{CODECS[Path(source).name]}.py")
            section.model.network.update(channels=32, res_blocks=1)
        else:
            section = defaults("text")
            section.model.text.update({**vars(config.model.text), "workdir": None})
        whole = parse(section)
        whole = dataclasses.replace(whole, model=whole.model.serving())
        spec = DataSpec("unknown", (256, 256, 3), 256, 0, 0, captions=True)
        method = build_method(whole, spec)
        shapes = jax.eval_shape(method.init, jax.random.key(0), batch_shapes(spec, 1, method.takes))
        parts[name] = Trained(method, shapes, whole, spec, make_mesh(MeshConfig()), 0)
    return parts


def test_there_are_configurations():
    names = {name_of(path) for path in CONFIGS}
    embedded = {"digits", "photos32", "openmoji32"}
    published = {"cifar10", "imagenet32", "imagenet64", "lsun64", "celebahq256"}
    assert names >= {f"glow/{name}" for name in embedded | published}
    assert names >= {f"realnvp/{name}" for name in ("digits", "photos32", "cifar10", "imagenet32", "imagenet64")}
    assert names >= {"realnvp/celeba64", "realnvp/lsun64"}
    assert names >= {f"nice/{name}" for name in ("digits", "photos32", "mnist", "cifar10")}
    assert names >= {f"ddpm/{name}" for name in ("digits", "openmoji32", "cifar10", "lsun256", "celebahq256")}
    assert names >= {f"iddpm/{name}" for name in ("digits", "cifar10", "imagenet64")}
    assert names >= {f"adm/imagenet{size}" for size in (64, 128, 256, 512)}
    assert names >= {f"adm/classifier{size}" for size in (64, 128, 256, 512)}
    assert names >= {f"glide/{name}" for name in ("base64", "upsample64_256", "inpaint64", "inpaint64_256", "clip64")}
    openmoji = {"openmoji32", "openmoji_up64", "openmoji_up128", "openmoji_inpaint32", "openmoji_clip32"}
    assert names >= {f"glide/{name}" for name in openmoji | {f"{size}_cpu" for size in openmoji if "up" not in size}}
    assert names >= {f"ldm/{name}256" for name in ("celebahq", "ffhq", "lsun_bedrooms", "lsun_churches", "imagenet")}
    assert names >= {"sd/v1_5", "sd/v2_1_v", "ldm/openmoji64"}
    assert names >= {
        f"autoencoder/{name}" for name in ("kl_f4", "kl_f8", "kl_f16", "kl_f32", "vq_f4", "vq_f8", "vq_f16")
    }
    assert names >= {
        "ldm/openmoji_codec",
        "adm/lsun256",
        "adm/64_256",
        "adm/128_512",
        "adm/classifier_digits",
        "adm/openmoji16_32",
    }


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_it_says_what_it_is_and_parses(path):
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert re.match(r"[A-Z].*[.:]", docstring), "its first line says which model and which data"
    config = parse(settings(path))
    assert parse(to_json(config)) == config
    smoke = parse(settings(path, "smoke"))
    assert smoke.train.steps <= 4
    assert smoke.method == config.method
    assert (smoke.data.size or 0) <= 64
    assert dataclasses.replace(smoke.data, size=config.data.size) == config.data
    with pytest.raises(ConfigError, match=r"no variant 'fast'; there is only :smoke"):
        settings(path, "fast")


# What makes a model larger and no other one. Tracing costs by the block, and no block is another for its size.
FEWER = {"res_blocks": 1, "blocks": 1, "layers": 1}
SMALLER = {
    "channels": 64, "channel_mult": "1,2", "attention": "", "levels": 1, "depth": 2, "width": 64, "heads": 4,
    "vocab_size": 300,
}  # fmt: skip
_traced: set[str] = set()


def change(section: Any, **values: Any) -> None:
    """Set what there is of these names in a section and its sub-sections."""
    for name, value in section.items():
        if hasattr(value, "items"):
            change(value, **values)
        elif name in values:
            section[name] = values[name]


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_its_step_and_sampler_fit_and_it_has_the_parameters_that_its_docstring_claims(path):
    asked = settings(path)
    # The same function, traced in half the time; tests/networks compares the two. The weights of LPIPS the user has.
    change(asked.model, remat=False, perceptual_weight=0.0)
    claims = re.findall(r"([\d.]+)M parameters", path.read_text())
    assert len(claims) == path.read_text().count("M parameters"), "a figure was never filled in"
    # Nothing compiles: shapes are what a mistake in a configuration breaks, and the gradient has those of the state.
    if not claims:
        change(asked.model, **FEWER)
    count = parameter_count(variables_of(experiments.build(parse(asked))))
    assert count > 1e4
    np.testing.assert_allclose([count / 1e6] * len(claims), [float(claim) for claim in claims], rtol=0.002)
    # The parameters came from one pass of the whole; the loss and the sampler are those of any size.
    change(asked.model, **FEWER, **SMALLER)
    experiment = experiments.build(parse(asked))
    config, spec = experiment.config, experiment.dataset.spec
    facts = (spec.shape[-1], spec.levels, len(spec.classes), spec.captions)
    kind = repr((config.method, config.model, config.dtype, config.sampling, facts))
    if kind in _traced:
        return
    _traced.add(kind)
    variables, batch = experiment.variables(variables_of(experiment)), experiment.example_batch(2)
    loss, _ = jax.eval_shape(experiment.method.loss, variables, jax.random.key(0), batch)
    assert loss.shape == ()
    if experiment.method.draws is None:
        assert experiment.method.guides is not None
        return
    program = sample_program(experiment, 2, variables)
    images, labels, finite = jax.eval_shape(partial(program.function, **program.static), *program.args)
    assert (images.shape, images.dtype) == ((2, *spec.shape), np.uint8)
    assert labels.shape == finite.shape == (2,)


def variables_of(experiment: Experiment) -> Any:
    """Their shapes."""
    batch = experiment.example_batch(experiment.config.model.init_images)
    return jax.eval_shape(experiment.method.init, jax.random.key(0), batch)


def parameter_count(variables: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))


PUBLISHED = {"glow/cifar10": 44.6e6, "glow/imagenet64": 112e6, "glow/celebahq256": 175e6 - 5.3e6}


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("name", PUBLISHED)
def test_it_has_the_parameters_of_the_paper(name):
    count = parameter_count(variables_of(experiments.build(parse(settings(small.ROOT / "configs" / f"{name}.py")))))
    np.testing.assert_allclose(count, PUBLISHED[name], rtol=0.02)


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("path", [path for path in CONFIGS if name_of(path) in RUN], ids=name_of)
def test_its_smoke_variant_trains_evaluates_and_samples(path, tmp_path):
    config = settings(path, "smoke")
    # Smaller still: two pictures are enough to see that shapes fit.
    config.train.update(steps=2, batch=2)
    config.eval.update(images=2, batch=2)
    config.pictures.images = 2
    if config.method == "diffusion":
        config.sampling.steps = "2"
    config.model.init_images = 12 if config.method == "nice" else 2  # NICE normalises every pixel by itself
    if "levels" in config.model:
        config.model.levels = min(config.model.levels, 1 if config.method == "realnvp" else 2)
    if "unroll" in config.model:
        config.model.unroll = 1
    change(config.model, **FEWER, channels=32, channel_mult="1", attention="", timesteps=50)
    metrics = train(parse(config), tmp_path)
    lines = small.log(tmp_path)
    assert [line["step"] for line in lines] == [1, 2]
    assert all(np.isfinite(line["loss"]) and line["skipped"] == 0 for line in lines)
    scores = {name: value for name, value in metrics.items() if name.startswith("test_")}
    assert scores
    assert all(0 <= value < 20 for value in scores.values())
    model = glowdiff.load(tmp_path)
    assert (model.step, model.config.data.name) == (2, config.data.name)
    if model.method.draws is not None:
        assert (tmp_path / "samples/2.png").stat().st_size > 0
