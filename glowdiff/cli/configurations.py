"""Configurations: found by name in the package, or by path, with the changes of `--config.KEY=VALUE`."""

from __future__ import annotations

import ast
import importlib.util
import re
import traceback
from collections.abc import Mapping
from pathlib import Path

from glowdiff.catalog.parse import Settings, override, parse
from glowdiff.cli.paths import expanded
from glowdiff.config.sections import Config
from glowdiff.errors import ConfigError, likely, require


def folder() -> Path:
    """Where the configurations that come with the package lie: in it, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    return next(each for each in (package / "configs", package.parent / "configs") if each.is_dir())


def names() -> list[str]:
    """The configurations that come with the package, such as `glow/digits`."""
    return sorted(path.relative_to(folder()).with_suffix("").as_posix() for path in folder().rglob("*.py"))


def docstring(name: str) -> str:
    """What a configuration of the package says of itself."""
    return ast.get_docstring(ast.parse((folder() / f"{name}.py").read_text(encoding="utf-8"))) or ""


def configuration(text: str, keys: Mapping[str, str]) -> Config:
    """The checked configuration that `--config` names, with changes.

    Args:
      text: a name or a path, and perhaps `:ARGUMENT`, as `glow/digits:smoke`.
      keys: as typed, {"config.train.steps": "3"}.

    Raises:
      ConfigError: it is not there or cannot be read; a key that it does not have, or an impossible value.
    """
    settings = load(text)
    # A part's name first: with it come other keys.
    for key in sorted(keys, key=lambda key: not key.endswith(".name")):
        value, short = keys[key], key.removeprefix("config.")
        override(settings, short, expanded(f"--{key}", value) if value.startswith("~") else value)
    return parse(settings)


def load(text: str) -> Settings:
    """What the file that `--config` names returns, for changes; arguments as of `configuration`."""
    path, argument = _find(text)
    spec = importlib.util.spec_from_file_location("configuration", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--config is {path}, which is no Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        require(hasattr(module, "get_config"), f"--config is {path}, which has no function get_config.")
        settings = module.get_config(argument) if argument else module.get_config()
        require(hasattr(settings, "to_dict"), f"--config is {path}, whose get_config returns no configuration.")
        return settings
    except ConfigError:
        raise
    except Exception as error:  # a file of the user's can raise anything
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f"{path}, line {lines[-1]}" if lines else f"{path}"
        raise ConfigError(f"--config cannot be read: {place}: {type(error).__name__}: {error}") from error


def _find(text: str) -> tuple[Path, str]:
    """The file, and the argument behind it."""
    whole = re.fullmatch(r"(.*?\.py)(?::(.*))?", text)  # a path may have colons of its own
    name, argument = (whole[1], whole[2] or "") if whole else text.partition(":")[::2]
    path, argument = Path(expanded("--config", name)), expanded("--config", argument) if argument else ""
    if path.is_file():
        return path.absolute(), argument
    plain = name.removeprefix("./").removeprefix("configs/").removesuffix(".py")
    if plain in names():
        return folder() / f"{plain}.py", argument
    hint = "".join(f"Did you mean {close}? " for close in likely(plain, names()))
    raise ConfigError(
        f"--config is {name}, which is neither a file nor the name of a configuration. {hint}`glowdiff configs` lists "
        "those that there are."
    )
