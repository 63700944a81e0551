"""Configurations by name and by path, what flags change in them, and their list."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from glowdiff.catalog.methods import METHODS
from glowdiff.catalog.parse import defaults, override, parse_unchecked, settings_of, to_json
from glowdiff.cli import configs
from glowdiff.cli.configurations import configuration, docstring, names
from glowdiff.errors import ConfigError
from tests import small
from tests.cli.typed import typed


@pytest.mark.parametrize(
    "text",
    [
        "nice/digits", "nice/digits.py", "configs/nice/digits.py", "./configs/nice/digits.py",
        f"{small.ROOT}/configs/nice/digits.py",
    ],
)  # fmt: skip
def test_a_name_and_a_path_are_the_same_thing(text, monkeypatch, tmp_path):
    expected = to_json(configuration("nice/digits:smoke", {}))
    assert to_json(configuration(f"{text}:smoke", {})) == expected != to_json(configuration(text, {}))
    if not text.startswith("./"):  # wherever one is
        monkeypatch.chdir(tmp_path)
        assert to_json(configuration(f"{text}:smoke", {})) == expected


def optional(section: Any, prefix: str = "") -> Iterator[str]:
    """The keys that may be None."""
    hints = typing.get_type_hints(type(section))
    for field in dataclasses.fields(section):
        value, key = getattr(section, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from optional(value, f"{key}.")
        elif type(None) in typing.get_args(hints[field.name]):
            yield key


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("none", ["None", "none", "NONE"])
def test_a_flag_takes_away_whatever_may_be_missing(method, none):
    start = parse_unchecked(defaults(method))
    for key in optional(start):
        settings = settings_of(start)
        override(settings, key, "1")
        assert functools.reduce(getattr, key.split("."), parse_unchecked(settings)) is not None
        override(settings, key, none)
        assert functools.reduce(getattr, key.split("."), parse_unchecked(settings)) is None
        number = not key.endswith(("path", "dir", "from", "latents", "perceptual"))
        with pytest.raises(ConfigError, match=r"number, or none\.$") if number else contextlib.nullcontext():
            override(settings, key, "")  # no number, and no file


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize(
    "key", ["sampling.temperature", "sampling.eta", "optimizer.eps", "optimizer.weight_decay", "train.clip"]
)
def test_no_number_of_a_configuration_is_infinite(key, value):
    with pytest.raises(ConfigError, match=rf"^{key} is -?(nan|inf); "):
        configuration("ddpm/digits", {f"config.{key}": value, "config.optimizer.name": "adamw"})


@pytest.mark.parametrize("steps", ["1", "5,5,1", "ddim4"])
def test_steps_that_begin_far_from_noise_are_no_configuration(steps):
    changes = {"config.sampling.steps": steps, "config.sampling.spacing": "even"}
    with pytest.raises(ConfigError, match=r"Use sampling\.spacing=trailing"):
        configuration("ddpm/digits:smoke", changes)


def test_files_elsewhere_are_given_by_their_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    mine = tmp_path / "my: models" / "mine.py"
    mine.parent.mkdir()
    shutil.copy(small.ROOT / "configs/nice/digits.py", mine)
    for text in (str(mine), "~/my: models/mine.py"):
        assert configuration(f"{text}:smoke", {}).train.steps == 4
    assert configuration(str(mine), {}).train.steps == configuration("nice/digits", {}).train.steps


def test_an_argument_may_be_a_path_too(trained, monkeypatch):
    monkeypatch.setenv("HOME", str(trained.workdir.parent))
    for place in (trained.workdir, "~/run"):
        changes = {"config.data.path": "~/pictures"}
        config = configuration(f"finetune:{place}", changes)
        assert config.train.init_from == str(trained.workdir)
        assert config.data.path == f"{trained.workdir.parent}/pictures"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("glow/digit", "--config is glow/digit, which is neither a file nor the name of a configuration. Did you mean"),
        ("configs/glow/digit.py", "Did you mean glow/digits?"),
        ("glow/digits:smok", "this configuration has no variant 'smok'; there is only :smoke."),
        ("finetune", "takes the workdir to start from"),
        ("", "--config is empty"),
    ],
)  # fmt: skip
def test_a_configuration_that_is_not_there(text, message):
    with pytest.raises(ConfigError) as error:
        configuration(text, {})
    assert message in str(error.value)


BEGINS = "from glowdiff.catalog.parse import defaults\ndef get_config():\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def get_config(:", "mine.py: SyntaxError"),
        ("import nothing_of_that_name", "mine.py, line 1: ModuleNotFoundError: No module named"),
        ("x = 1", "mine.py, which has no function get_config"),
        (f"{BEGINS}    config = defaults('nice')\n    config.train.stpes = 3", "mine.py, line 4: AttributeError"),
        (f"{BEGINS}    return defaults('nic')", "method is 'nic'"),
        ("def get_config():\n    return 3", "mine.py, whose get_config returns no configuration"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_an_error_that_says_where(content, message, tmp_path):
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(ConfigError) as error:
        configuration(str(tmp_path / "mine.py"), {})
    assert message in str(error.value)


# ---- Changes.


def test_a_key_may_be_set_to_none():
    changes = {
        "config.model.class_conditional": "False", "config.model.label_dropout": "0.",
        "config.sampling.guidance_scale": "None",
    }  # fmt: skip
    assert configuration("ddpm/digits:smoke", {}).sampling.guidance_scale == 2
    assert configuration("ddpm/digits:smoke", changes).sampling.guidance_scale is None
    assert configuration("glow/photos32", {"config.data.size": "none"}).data.size is None


def test_a_part_brings_its_keys_whatever_the_order():
    text = {"config.model.text.width": "32", "config.model.text.name": "glide", "config.model.text.layers": "1"}
    config = configuration("ddpm/openmoji32", text)
    assert (config.model.text.name, config.model.text.width, config.model.text.layers) == ("glide", 32, 1)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.stpes", "3", "there is no train.stpes. Did you mean train.steps?"),
        ("model.dept", "3", "there is no model.dept. Did you mean model.depth?"),
        ("trian.steps", "3", "there is no trian. Did you mean train?"),
        ("train.steps", "many", "train.steps is 'many'; it must be a whole number."),
        ("train", "3", "train is a section; set its keys, such as train.KEY=..."),
        ("train.steps.more", "3", "train.steps is a value; it has no key more."),
        ("optimizer.name", "sgd", "optimizer.name is 'sgd'; it must be one of adam, adamw, adamax."),
    ],
)
def test_a_change_that_cannot_be(key, value, message):
    with pytest.raises(ConfigError) as error:
        configuration("glow/digits:smoke", {f"config.{key}": value})
    assert message in str(error.value)


# ---- The list.


def test_every_configuration_is_listed_with_its_data_and_what_was_published():
    result = typed(configs.main)
    assert result.code == 0
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in result.out.split("\n\n")[0].splitlines()}
    files = {
        path.relative_to(small.ROOT / "configs").with_suffix("").as_posix()
        for path in (small.ROOT / "configs").rglob("*.py")
    }
    assert rows.keys() == files == set(names())
    assert rows["glow/cifar10"] == "cifar10 3.35 bits/dim"
    assert rows["adm/64_256"] == "imagenet2012 256 FID 7.49, 3.94 guided"
    assert rows["ddpm/cifar10"] == "cifar10 FID 3.17, at most 3.75 bits/dim"
    assert rows["iddpm/cifar10"] == "cifar10 FID 3.19, 3.17 bits/dim"
    assert rows["glow/digits"] == "digits"
    assert rows["finetune"] == "a folder of yours"
    assert max(map(len, result.out.splitlines())) <= 90


def test_some_of_them_and_one_in_full():
    some = typed(configs.main, "nice").out.splitlines()
    assert all(line.startswith("nice/") for line in some[:-2])
    whole = typed(configs.main, "glow/digits").out
    assert docstring("glow/digits") in whole
    assert "--config=glow/digits" in whole
    assert "Did you mean glow/digits?" in typed(configs.main, "glwo/digits").error


def test_the_page_of_configurations_is_what_their_docstrings_say(capsys):
    assert configs.main(["--markdown"]) == 0
    page = (small.ROOT / "docs/configurations.md").read_text()
    assert capsys.readouterr().out == page, "run: python -m glowdiff configs --markdown > docs/configurations.md"
