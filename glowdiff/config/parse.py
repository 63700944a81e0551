"""From `ml_collections` and JSON to the checked dataclasses, and back; every mistake is named in the user's words."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glowdiff.config.schema import Config, ConfigError
from glowdiff.registry import METHODS

if TYPE_CHECKING:  # a mapping is parsed without it: benchmarks/gpu.py runs where it is not installed
    from ml_collections import ConfigDict

# What `:smoke` shrinks of any `model` section.
_SMOKE = {
    "depth": 2, "width": 8, "blocks": 1, "hidden_layers": 2, "init_images": 16,
    "channels": 64, "res_blocks": 1, "heads": 1, "head_channels": 32,
    "image_width": 32, "image_layers": 1, "image_heads": 1, "text_width": 32, "text_layers": 1, "text_heads": 1,
    "embedding": 16,
}  # fmt: skip

Settings = Any  # a `ConfigDict`, whose attributes no type checker knows


def defaults(method: str) -> Settings:
    """The default configuration of `method`, for a configuration file to change.

    Unknown keys and values of another type raise as they are set. See `glowdiff/config/schema.py` for the keys.
    """
    model = _entry(method).config
    config = _to_config_dict(Config(method=method, model=model()))
    config.update_from_flattened_dict(model.settings)
    return config


def settings_of(config: Config) -> Settings:
    """A whole configuration, such as that of a workdir, for a configuration file to change."""
    return _to_config_dict(config)


def variant(config: Settings, mode: str = "") -> Settings:
    """What a configuration file returns: `config`, or with mode `smoke` all of it made to run in seconds.

    Raises:
      ConfigError: there is no such mode.
    """
    if mode not in ("", "smoke"):
        raise ConfigError(f"this configuration has no variant {mode!r}; there is only :smoke.")
    if mode == "smoke":
        config.train.update(steps=4, batch=8, log_every=1, checkpoint_every=2)
        config.train.init_from = None  # the weights there are of the whole model
        config.eval.update(every=2, images=16, batch=8)
        config.sampling.update(every=2, images=4)
        config.optimizer.warmup_steps = min(config.optimizer.warmup_steps, 2)
        for key, small in _SMOKE.items():
            if isinstance(config.model.get(key), int):
                config.model[key] = min(config.model[key], small)
        if "levels" in config.model:
            config.model.levels = min(config.model.levels, 3)
        if "steps" in _entry(config.method).config.sampling_keys:
            config.sampling.steps = "4"
    return config


def parse(config: ConfigDict | Mapping[str, Any]) -> Config:
    """The checked configuration of what a configuration file, flags or a workdir's JSON hold.

    Raises:
      ConfigError: an unknown key (the likely one is suggested), a wrong type, an impossible value.
    """
    to_dict = getattr(config, "to_dict", None)  # of a ConfigDict; other mappings have none
    plain = to_dict() if to_dict else dict(config)
    if "method" not in plain:
        raise ConfigError(f"the configuration names no method; it must be one of {', '.join(METHODS)}.")
    section = _entry(plain["method"]).config
    model = _parse_section(section, plain.pop("model", {}), "model")
    for key, value in section.settings.items():  # what the model starts with, where nothing else is said
        outer, _, inner = key.partition(".")
        plain[outer] = {inner: value} | plain.get(outer, {})
    parsed = _parse_section(Config, plain, "", model=model)
    parsed.check()
    return parsed


def to_json(config: Config) -> dict[str, Any]:
    """The configuration as plain JSON values; `parse` reads it back."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with both values."""
    before, after = _flatten(to_json(old)), _flatten(to_json(new))
    return {key: (before.get(key), after.get(key)) for key in after | before if before.get(key) != after.get(key)}


def _entry(method: Any) -> Any:
    if method not in METHODS:
        close = difflib.get_close_matches(str(method), METHODS, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"method is {method!r}; it must be one of {', '.join(METHODS)}.{hint}")
    return METHODS[method]


def _to_config_dict(section: Any) -> ConfigDict:
    from ml_collections import ConfigDict, config_dict

    result = ConfigDict()
    hints = typing.get_type_hints(type(section))
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            value = _to_config_dict(value)
        elif value is None:  # a typed hole, so that flags know how to read it
            value = config_dict.placeholder(_plain_types(hints[field.name])[0])
        result[field.name] = value
    return result.lock()


def _parse_section(cls: type[Any], values: Any, prefix: str, **parsed: Any) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{prefix} is {values!r}; it must be a section with keys of its own.")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, 1)
            hint = f" Did you mean {_join(prefix, close[0])}?" if close else f" Known: {', '.join(fields)}."
            raise ConfigError(f"there is no {_join(prefix, key)}.{hint}")
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            parsed[key] = _parse_section(typing.cast("type[Any]", hint), values[key], _join(prefix, key))
        else:
            parsed[key] = _typed(_join(prefix, key), values[key], hint)
    return cls(**parsed)


def _typed(key: str, value: Any, hint: Any) -> Any:
    accepted = _plain_types(hint)
    if value is None:
        if type(None) in typing.get_args(hint):
            return None
        raise ConfigError(f"{key} is None; it must be {accepted[0].__name__}.")
    if float in accepted and type(value) is int:
        return float(value)
    if type(value) not in accepted:
        names = " or ".join(kind.__name__ for kind in accepted)
        raise ConfigError(f"{key} is {value!r}, of type {type(value).__name__}; it must be {names}.")
    return value


def _plain_types(hint: Any) -> tuple[type, ...]:
    if isinstance(hint, types.UnionType):
        return tuple(kind for kind in typing.get_args(hint) if kind is not type(None))
    return (hint,)


def _join(prefix: str, key: Any) -> str:
    return f"{prefix}.{key}" if prefix else str(key)


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
