"""`python -m glowdiff import glide`: from a file of the original's weights to a workdir like any other."""

from __future__ import annotations

import importlib
import json

import jax
import numpy as np
import pytest

import glowdiff
from glowdiff import importers
from glowdiff.catalog.methods import build_method
from glowdiff.catalog.parse import differences
from glowdiff.catalog.parse import parse as parse_config
from glowdiff.cli.import_ import main
from glowdiff.importers.glide import GLIDE, RELEASES, parse
from glowdiff.method import batch_shapes
from glowdiff.text import tokenizer as tokenizers
from glowdiff.workdir import description as workdirs
from tests import small
from tests.importers.golden import check, described, load_torch, module_of, random_weight, released

CONFIGS = {
    "base": "base64",
    "upsample": "upsample64_256",
    "base-inpaint": "inpaint64",
    "upsample-inpaint": "inpaint64_256",
}
MERGES = "#version: 0.2\na t\nc at\nr e\nre d\n"  # in the form of GPT-2's file
TOKENS = 256 + 4 + 1
TABLE = "token_embedding.weight"


def golden(name="glide_text2im"):
    """A golden, with as many tokens as the toy vocabulary has."""
    arrays, flags, weights = load_torch(name)
    table = random_weight(TABLE, (TOKENS, weights[TABLE].shape[1]))
    return arrays, flags | {"n_vocab": TOKENS}, weights | {TABLE: table}


def command(tmp_path, weights, flags, **options):
    np.savez(tmp_path / "weights.npz", **weights)
    (tmp_path / "vocab.bpe").write_text(MERGES)
    text = {} if flags is None else {"flags": flags if isinstance(flags, str) else json.dumps(flags)}
    chosen = {"weights": tmp_path / "weights.npz", "vocab": tmp_path / "vocab.bpe", "workdir": tmp_path / "run"}
    return main(["glide", *(f"--{name}={value}" for name, value in (chosen | text | options).items())])


@pytest.mark.parametrize("name", ["glide_text2im", "glide_superres_inpaint"])
def test_the_workdir_computes_what_the_importer_gives(name, tmp_path, capsys):
    arrays, flags, weights = golden(name)
    assert command(tmp_path, weights, flags) == 0
    said = capsys.readouterr().out
    assert f'sample.py --workdir={tmp_path / "run"} --prompt="..."' in said
    assert f"--config=configs/finetune.py:{tmp_path / 'run'}" in said
    small_size = "{0}x{0}".format(flags["image_size"] // 4)
    assert (f"--low_res=FILE enlarges pictures of {small_size} pixels" in said) == (name == "glide_superres_inpaint")
    model = glowdiff.load(tmp_path / "run")
    module, variables = importers.glide(weights, flags)
    assert module_of(model.config, model.spec) == module
    assert small.as_bytes(model.variables) == small.as_bytes(variables)
    tokenizer = tokenizers.load(tmp_path / "run", "gpt2")
    tokens = tokenizer.encode(["Red cat"], arrays["in_tokens"].shape[1])
    assert tokens.mask.sum() == 3  # red, a blank, cat


def test_what_makes_a_prompt_fit_is_kept(tmp_path):
    _, flags, weights = golden()
    assert command(tmp_path, weights, flags, dtype="bfloat16", batch=8) == 0
    config, spec = workdirs.read(tmp_path / "run")
    assert (config.dtype, config.train.batch, config.model.text.context) == ("bfloat16", 8, flags["text_ctx"])
    assert (config.model.text.tokenizer, config.model.text.vocab_size) == ("gpt2", TOKENS)
    assert (spec.captions, spec.classes, spec.shape) == (True, (), (flags["image_size"], flags["image_size"], 3))


_, PLAIN, WEIGHTS = golden()
LAYERS = PLAIN["xf_layers"]
MISTAKES = {
    "no such release": (None, {"preset": "bass"}, "--preset is 'bass', which is no release; did you mean base?"),
    "neither": (None, {}, "neither was given"),
    "weights of another release": (None, {"preset": "base"}, "the flags ask for n_vocab=50257"),
    "a vocabulary of another size": (PLAIN | {"n_vocab": TOKENS + 1}, {}, "--vocab has 261 tokens; the flags ask for"),
    "no such vocabulary": (PLAIN, {"vocab": "nothing.bpe"}, "--vocab is nothing.bpe, where there is no file"),
    "another depth": (PLAIN | {"xf_layers": LAYERS + 1}, {}, f"Missing: transformer.resblocks.{LAYERS}"),
    "data without captions": (PLAIN, {"data": "cifar10"}, "model.text.name is 'glide', but cifar10 has no captions"),
    "no such arithmetic": (PLAIN, {"dtype": "float16"}, "--dtype is 'float16'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(tmp_path, capsys, mistake):
    flags, options, message = MISTAKES[mistake]
    assert command(tmp_path, WEIGHTS, flags, **options) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["base", "upsample-inpaint"])  # all four by their modules, in test_glide
def test_releases_are_what_their_manifests_say(name):
    entry = released()[f"glide_{name.replace('-', '_')}"]
    assert parse(RELEASES[name]) == parse(entry["flags"])
    config, spec = described(GLIDE, RELEASES[name])
    method = build_method(config, spec)
    shapes = jax.eval_shape(method.init, jax.random.key(0), batch_shapes(spec, 1, method.takes))
    module, variables = check(GLIDE, entry["flags"], weights=entry["manifest"])
    assert dict(shapes) == variables
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == entry["parameters"]
    assert module_of(config, spec) == module


@pytest.mark.parametrize("name", CONFIGS)
def test_our_configurations_are_the_releases(name):
    """What may differ is named: arithmetic, memory, pace of training, and how the same is written."""
    imported, spec = described(GLIDE, RELEASES[name])
    ours = parse_config(importlib.import_module(f"configs.glide.{CONFIGS[name]}").get_config())
    different = set(differences(imported, ours))
    assert different <= {
        "dtype",
        "model.network.remat",
        "train.steps",
        "train.batch",
        "model.network.channel_mult",
        "model.network.heads",
    }
    assert module_of(ours, spec).clone(remat=False, heads=1) == module_of(imported, spec)


def test_sampling_is_as_published_or_as_the_flags_say():
    def sampling(**values):
        found = described(GLIDE, values)[0].sampling
        return found.sampler, found.steps, found.guidance_scale, found.temperature

    assert sampling() == ("ancestral", "100", 3.0, 1.0)
    assert sampling(inpaint=True) == ("ancestral", "100", 5.0, 1.0)
    assert sampling(super_res=True) == ("ddim", "fast27", None, 0.997)
    assert sampling(super_res=True, inpaint=True) == ("ancestral", "fast27", None, 0.997)
    assert sampling(timestep_respacing="ddim50") == ("ddim", "ddim50", 3.0, 1.0)
