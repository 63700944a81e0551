"""How flags are read: every spelling, every mistake, and help that fits a screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from glowdiff.cli import edit_flags, evaluate, import_, prepare, sample, train
from glowdiff.cli.flags import Flags, Parsed
from glowdiff.config.options import SampleOptions, configured
from glowdiff.errors import ConfigError

OPTIONS = [each.name for each in configured()]


def flags() -> Flags:
    flags = Flags("glowdiff draw", "Draws.", "docs/drawing.md", "--out=FILE", section="config")
    flags.add("out", "The file.", Path, default="a.png")
    flags.add("num", "How many.", int, low=1, high=9)
    flags.add("most", "At most.", float | None, default=1.0)
    flags.add("ema", "Averaged.", bool, default=True)
    flags.add("dry_run", "Only check.", bool, default=False)
    flags.add("prompt", "In words.", repeated=True)
    flags.add("label", "The class.")
    flags.add("images", "Files.", nargs="+")
    flags.add("mode", "How.", choices=("linear", "spherical"))
    return flags


def parse(*words: str) -> Parsed:
    return flags().parse(words)


def test_a_value_follows_an_equals_sign_or_a_space():
    typed = parse("--num=3", "--label", "7", "--prompt=a", "--prompt", "b c", "--images", "a.png", "b.png", "--dry-run")
    assert (typed.num, typed.label, typed.prompt, typed.images) == (3, "7", ["a", "b c"], ["a.png", "b.png"])
    assert (typed.dry_run, typed.ema, typed.out, typed.mode) == (True, True, "a.png", None)
    assert typed.given == {"num", "label", "prompt", "images", "dry_run"}
    assert typed.options(["label", "mode"]) == {"label": "7"}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("--ema", True), ("--noema", False), ("--no-ema", False), ("--no_ema", False), ("--ema=false", False),
        ("--ema=True", True), ("--ema=0", False),
    ],
)  # fmt: skip
def test_a_switch_has_every_spelling(word, value):
    assert parse(word).ema is value


def test_none_is_a_value_where_there_may_be_none():
    assert parse("--most=none").most is None
    assert parse("--most=None").most is None
    assert parse("--most=0.5").most == 0.5
    assert parse().most == 1.0
    with pytest.raises(ConfigError, match="--num is 'none'; it must be a whole number"):
        parse("--num=none")


def test_keys_of_a_section_are_kept_as_they_are_typed():
    typed = parse("--config.train.steps=3", "--config.data.path", "a b", "--config.x=")
    assert typed.keys == {"config.train.steps": "3", "config.data.path": "a b", "config.x": ""}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nmu=3"], "glowdiff draw has no --nmu. Did you mean --num?"),
        (["--zzz", "3"], "glowdiff draw has no --zzz. It takes --out, --num,"),
        (["--nu=3"], "glowdiff draw has no --nu."),  # not short for --num
        (["-num=3"], "glowdiff draw has no -num. Did you mean --num?"),
        (["--noout"], "glowdiff draw has no --noout."),
        (["--noema=false"], "glowdiff draw has no --noema."),
        (["--prompt=red", "heart", "eyes"], "what is 'heart eyes'? It belongs to no flag of glowdiff draw."),
        (["--prompt=red", "heart", "eyes"], "--prompt, put the whole in quotes: --prompt='red heart eyes'."),
        (["--num=3", "extra"], "what is 'extra'? It belongs to no flag of glowdiff draw, which takes --out,"),
        (["extra"], "what is 'extra'? It belongs to no flag"),
        (["--ema", "false"], "what is 'false'?"),
        (["--images=a.png", "b.png"], "If it belongs to --images, write --images a.png b.png."),
        (["--num=3", "--num=3"], "--num is given twice"),
        (["--ema", "--noema"], "--ema is given twice"),
        (["--most=none", "--most=1"], "--most is given twice"),
        (["--config.a=1", "--config.a=2"], "--config.a is given twice: '1' and '2'."),
        (["--config.a"], "--config.a needs a value: --config.a=VALUE."),
        (["--num"], "--num needs a value: --num=VALUE."),
        (["--label", "--num=3"], "--label needs a value: --label=VALUE."),
        (["--num=0"], "--num is 0; it must be from 1 to 9."),
        (["--num=three"], "--num is 'three'; it must be a whole number."),
        (["--ema=perhaps"], "--ema is 'perhaps'; it must be true or false."),
        (["--mode=linar"], "--mode is 'linar'; it must be one of linear, spherical. Did you mean 'linear'?"),
        (["--out="], "--out is empty"),
    ],
)  # fmt: skip
def test_nothing_is_ignored(words, message):
    with pytest.raises(ConfigError) as error:
        parse(*words)
    assert message in str(error.value)


def test_the_home_folder_stands_for_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse("--out=~/a.png").out == f"{tmp_path}/a.png"
    assert parse("--out=gs://bucket/~/a.png").out == "gs://bucket/~/a.png"
    assert parse("--out=a~b.png").out == "a~b.png"
    with pytest.raises(ConfigError, match=r"--out is ~nobody-here/a\.png, but there is no home folder ~nobody-here"):
        parse("--out=~nobody-here/a.png")
    monkeypatch.setenv("HOME", "")
    with pytest.raises(ConfigError, match="there is no home folder ~"):
        parse("--out=~/a.png")


def test_what_is_needed_is_asked_for():
    required = flags()
    required.add("workdir", "What train wrote.", Path, needed=True)
    with pytest.raises(ConfigError, match="--workdir is missing: What train wrote"):
        required.parse([])


# ---- The commands' own.

COMMANDS = {
    "train": train.flags, "sample": sample.flags, "evaluate": evaluate.flags, "prepare": prepare.flags,
    "prepare latents": prepare.latent_flags,
    **{f"edit {name}": lambda name=name: edit_flags.flags(name) for name in edit_flags.COMMANDS},
    **{f"import {name}": lambda family=family: import_.flags(family) for name, family in import_.FAMILIES.items()},
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_screen_and_names_a_page(name):
    flags = COMMANDS[name]()
    lines = flags.help().splitlines()
    assert len(lines) <= 26, f"{len(lines)} lines"
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"glowdiff {name} ")
    assert any(page in flags.help() for page in ("docs/", "README.md"))


def test_help_is_printed_whatever_else_is_typed(capsys):
    for word in ("--help", "-h", "--helpshort", "--helpfull"):
        with pytest.raises(SystemExit) as stop:
            parse("--nmu=3", word)
        assert not stop.value.code
        assert "--num=N" in capsys.readouterr().out


def test_every_option_of_samples_is_a_flag():
    for command in ("sample", "evaluate", "edit inpaint", "edit sdedit"):
        full = COMMANDS[command]().help(full=True)
        for name in OPTIONS:
            assert f"  --{name}=" in full
            assert command.startswith("edit") or f"  --upsampler_{name}=" in full


def test_an_option_has_the_type_of_its_field():
    typed = sample.flags().parse(["--workdir=a", "--guidance_scale=none", "--steps=fast27", "--temperature=1"])
    options = typed.options(OPTIONS)
    assert options == {"guidance_scale": None, "steps": "fast27", "temperature": 1.0}
    assert {field for field in SampleOptions.__dataclass_fields__ if field not in OPTIONS} == {
        "strength", "frames", "guides",
    }  # fmt: skip
