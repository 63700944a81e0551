"""`python -m glowdiff import clip`: from the two files of the release to a workdir with its tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from glowdiff.catalog.methods import build_method
from glowdiff.cli.import_ import main
from glowdiff.importers.clip import CLIP as FAMILY
from glowdiff.method import batch_shapes
from glowdiff.text import tokenizer as tokenizers
from glowdiff.workdir import description as workdirs
from glowdiff.workdir.checkpoint import Checkpoints
from tests.importers.golden import described, load_clip
from tests.text.conftest import CLIP

# Of the table of tokens: the toy vocabulary may have more entries than the golden's table, whose rows stay the first.
ROWS = max(600, load_clip()[1]["n_vocab"])


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The golden's weights, with more tokens."""
    _, _, weights = load_clip()
    table = weights["text"]["blocks.input.w_voc"]
    weights["text"]["blocks.input.w_voc"] = np.resize(table, (ROWS, table.shape[1]))
    np.savez(tmp_path / "text.npz", **weights["text"])
    save_file(weights["image"], tmp_path / "image.safetensors")
    return {"text_weights": tmp_path / "text.npz", "image_weights": tmp_path / "image.safetensors"}


@pytest.fixture
def vocab(tmp_path: Path) -> Path:
    (tmp_path / "clip.txt").write_text("\n".join(["#version: 0.2", *CLIP, ""]))
    return tmp_path / "clip.txt"


def command(workdir: Path, files: dict[str, Path], vocab: Path, **options: object) -> int:
    _, flags, _ = load_clip()
    text = json.dumps(flags | {"n_vocab": ROWS} | options.pop("flags", {}))
    chosen = {**files, "workdir": workdir, "vocab": vocab, "flags": text, **options}
    return main(["clip", *(f"--{name}={value}" for name, value in chosen.items())])


def test_the_workdir_guides_as_the_original_does(tmp_path, files, vocab, capsys):
    workdir = tmp_path / "run"
    assert command(workdir, files, vocab) == 0
    said = capsys.readouterr().out
    assert f"sample.py --clip={workdir} guides with it." in said
    assert "to train on, name one by --data" in said

    config, spec = workdirs.read(workdir)
    assert (config.method, config.model.process.schedule, config.model.text.tokenizer) == ("clip", "cosine", "clip")
    tokenizer = tokenizers.load(workdir, "clip")
    arrays, flags, _ = load_clip()
    tokens = arrays["in_tokens"].astype(np.int32)
    assert tokenizer.encode(["the cat"], config.model.text.context).tokens.shape == (1, flags["max_text_len"])

    method = build_method(config, spec)
    shapes = jax.eval_shape(method.init, jax.random.key(0), batch_shapes(spec, 1, method.takes))
    with Checkpoints(workdir) as checkpoints:
        variables = checkpoints.restore_part({"variables": dict(shapes)}, None).state["variables"]
    mask = np.arange(tokens.shape[1])[None] < arrays["in_lens"][:, None]
    cond = method.guides.embed(variables, {"clip_tokens": tokens, "clip_mask": mask})

    def agreement(x):
        return method.guides.log_prob(variables, x, arrays["in_t"], cond).sum()

    with jax.default_matmul_precision("highest"):
        gradient = jax.jit(jax.grad(agreement))(arrays["in_x"])
    np.testing.assert_allclose(cond["clip_text"], arrays["out_z_text"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(gradient, arrays["out_cond_grad"], atol=1e-6, rtol=0)


def test_what_cannot_be_imported_is_said(tmp_path, files, vocab, capsys):
    def said(**options: object) -> str:
        assert command(tmp_path / "run", files, vocab, **options) == 1
        assert not (tmp_path / "run").exists()
        return capsys.readouterr().err

    assert "--flags has n_vocab=101, but the vocabulary has 522 entries" in said(flags={"n_vocab": 101})
    assert "--batch is -1; it must be at least 1" in said(batch=-1)
    assert "--dtype is 'float16'; it must be one of" in said(dtype="float16")
    size = "{0}x{0}x3".format(load_clip()[1]["image_size"])
    message = f"the images of digits are 8x8x1 with 17 levels; the flags ask for {size} with 256"
    assert message in said(data="digits")
    missing = {**files, "text_weights": tmp_path / "none.npz"}
    assert command(tmp_path / "run", missing, vocab) == 1
    assert "--text_weights is" in capsys.readouterr().err


def test_the_release_becomes_the_configuration_of_its_size():
    config, _ = described(FAMILY, {}, batch=256)
    assert (config.model.network.width, config.model.text.width, config.model.network.embedding) == (768, 512, 512)
    assert (config.data.size, config.train.batch, config.optimizer.weight_decay) == (64, 256, 0.2)
