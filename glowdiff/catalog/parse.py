"""From files and JSON to the checked dataclasses, and back; every mistake is named in the user's words."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from glowdiff.catalog.methods import METHODS, Entry
from glowdiff.config.sections import Config
from glowdiff.config.values import from_text, plain_types, typed
from glowdiff.errors import ConfigError, did_you_mean, require, require_choice

Settings = Any  # a `ConfigDict` of ml_collections, whose attributes no type checker knows

# What `:smoke` shrinks, by section.
_SMOKE_SIZE = 64  # pixels on a side of larger images
_SMOKE = {
    "model": {"depth": 2, "width": 8, "blocks": 1, "hidden_layers": 2, "init_images": 16, "levels": 3},
    "model.network": {
        "channels": 32, "res_blocks": 1, "heads": 1, "head_channels": 32, "width": 32, "layers": 1, "embedding": 16,
    },
    "model.text": {"width": 32, "layers": 1, "heads": 1},
}  # fmt: skip


def defaults(method: str, **parts: str) -> Settings:
    """The default configuration of `method`, for a configuration file to change.

    Unknown keys and values of another type raise as they are set. See `glowdiff/config/sections.py` for the keys.

    Args:
      method: a name of `glowdiff.catalog.methods.METHODS`.
      **parts: names of the model's parts that are not the usual ones, such as `text="glide"`.

    Raises:
      ConfigError: there is no such method or part.
    """
    model = _entry(method).config
    fields = {field.name: field for field in dataclasses.fields(model)}
    for key, name in parts.items():
        known = [field for field in fields if "parts" in fields[field].metadata]
        require(key in known, f"a model of method {method} has no part {key}. {did_you_mean(key, known)}")
        require_choice(f"model.{key}.name", name, fields[key].metadata["parts"])
    section = model(**{key: fields[key].metadata["parts"][name](name) for key, name in parts.items()})
    config = settings_of(Config(method=method, model=section))
    config.update_from_flattened_dict(dict(section.starting()))
    return config


def variant(config: Settings, mode: str = "") -> Settings:
    """What a configuration file returns: `config`, or with mode `smoke` all of it made to run in seconds.

    Raises:
      ConfigError: there is no such mode.
    """
    require(mode in ("", "smoke"), f"this configuration has no variant {mode!r}; there is only :smoke.")
    if mode == "smoke":
        config.train.update(steps=4, batch=8, log_every=1, checkpoint_every=2)
        config.train.init_from = None  # the weights there are of the whole model, as are those of frozen ones
        for key, part in {"codec": "pixels", "text": "clip"}.items():
            if config.model.get(key, {}).get("workdir"):
                override(config, f"model.{key}.name", part)
        if "perceptual_weight" in config.model:  # whose weights the user has
            config.model.update(perceptual=None, perceptual_weight=0.0)
        config.eval.update(every=2, images=16, batch=8)
        config.pictures.update(every=2, images=4)
        config.optimizer.warmup_steps = min(config.optimizer.warmup_steps, 2)
        if "steps" in _entry(config.method).config.options:
            config.sampling.steps = "4"
        if (config.data.size or 0) > _SMOKE_SIZE:
            if config.model.get("low_res"):
                config.model.low_res = config.model.low_res * _SMOKE_SIZE // config.data.size
            config.data.size = _SMOKE_SIZE
        for section, sizes in _SMOKE.items():
            values = _section(config, section)
            for key, small in sizes.items():
                if values is not None and isinstance(values.get(key), int):
                    values[key] = min(values[key], small)
    return config


def parse(config: Any) -> Config:
    """The checked configuration of what a configuration file, flags or a workdir's JSON hold.

    Args:
      config: a `ConfigDict`, or a mapping of sections and values.

    Raises:
      ConfigError: an unknown key (the likely one is suggested), a wrong type, an impossible value.
    """
    plain = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    if "method" not in plain:
        raise ConfigError(f"the configuration names no method; it must be one of {', '.join(METHODS)}.")
    section = _entry(plain["method"]).config
    model = _parse_section(section, plain.pop("model", {}), "model")
    for key, value in model.starting().items():  # what the model starts with, where nothing else is said
        outer, _, inner = key.partition(".")
        plain[outer] = {inner: value} | plain.get(outer, {})
    parsed = _parse_section(Config, plain, "", model=model)
    parsed.check()
    return parsed


def to_json(config: Config) -> dict[str, Any]:
    """The configuration as plain JSON values; `parse` reads it back."""
    return json.loads(json.dumps(_plain(config)))


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with both values."""
    before, after = _flatten(to_json(old)), _flatten(to_json(new))
    return {key: (before.get(key), after.get(key)) for key in after | before if before.get(key) != after.get(key)}


def override(settings: Settings, key: str, text: str) -> None:
    """Set one key of a configuration to what a flag says.

    Args:
      settings: are changed. With the name of another part, `model.network.name=...`, its keys become that part's,
        and other sections start as suits it.
      key: dotted, such as `train.steps`.
      text: as typed; `none` is None, where a value may be None.

    Raises:
      ConfigError: there is no such key, or it cannot have this value.
    """
    config = parse_unchecked(settings)
    *sections, name = key.split(".")
    owner, prefix = config, ""
    for section in sections:
        _require_key(owner, section, prefix)
        owner, prefix = getattr(owner, section), f"{prefix}{section}."
        require(dataclasses.is_dataclass(owner), f"{prefix.rstrip('.')} is a value; it has no key {name}.")
    _require_key(owner, name, prefix)
    require(
        not dataclasses.is_dataclass(getattr(owner, name)), f"{key} is a section; set its keys, such as {key}.KEY=..."
    )
    table = _table_of(config, sections) if name == "name" else None
    if table is not None:
        require_choice(key, text, table)
        part = table[text](text)
        _section(settings, ".".join(sections[:-1]))[sections[-1]] = settings_of(part)
        settings.update_from_flattened_dict(dict(part.settings))
        return
    values = _section(settings, ".".join(sections)) if sections else settings
    values[name] = from_text(key, text, typing.get_type_hints(type(owner))[name])


def parse_unchecked(settings: Settings) -> Config:
    """The dataclasses of a configuration that may still hold impossible values, of the right types."""
    plain = settings.to_dict()
    section = _entry(plain["method"]).config
    model = _parse_section(section, plain.pop("model"), "model")
    return _parse_section(Config, plain, "", model=model)


def _entry(method: Any) -> Entry:
    require_choice("method", method, METHODS)
    return METHODS[method]


def _section(settings: Settings, key: str) -> Settings:
    """The section of a dotted key; None where there is none."""
    for name in key.split(".") if key else ():
        settings = settings.get(name) if name in settings else None
        if settings is None:
            break
    return settings


def _fields(section: Any) -> Iterator[dataclasses.Field[Any]]:
    """What a configuration holds of a section: not what belongs to a call alone."""
    return (field for field in dataclasses.fields(section) if not field.metadata.get("call"))


def _plain(section: Any) -> dict[str, Any]:
    values = {field.name: getattr(section, field.name) for field in _fields(section)}
    return {key: _plain(value) if dataclasses.is_dataclass(value) else value for key, value in values.items()}


def settings_of(section: Any) -> Settings:
    """A whole configuration, such as that of a workdir, or one of its sections, for a configuration file to change."""
    from ml_collections import ConfigDict, config_dict  # not needed where configurations come from JSON

    result = ConfigDict()
    hints = typing.get_type_hints(type(section))
    for field in _fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            value = settings_of(value)
        elif value is None:  # a typed hole
            value = config_dict.placeholder(plain_types(hints[field.name])[0])
        result[field.name] = value
    return result.lock()


def _parse_section(cls: type[Any], values: Any, prefix: str, **parsed: Any) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{prefix} is {values!r}; it must be a section with keys of its own.")
    fields = {field.name: field for field in _fields(cls)}
    hints = typing.get_type_hints(cls)
    for key in values:
        if key in parsed:
            continue
        if key not in fields:
            _unknown(key, fields, prefix)
        hint, name = hints[key], _join(prefix, key)
        table = fields[key].metadata.get("parts")
        if table is not None:
            parsed[key] = _parse_part(table, fields[key].default_factory, values[key], name)
        elif dataclasses.is_dataclass(hint):
            parsed[key] = _parse_section(typing.cast("type[Any]", hint), values[key], name)
        else:
            parsed[key] = typed(name, values[key], hint)
    return cls(**parsed)


def _parse_part(table: Mapping[str, type[Any]], default: Any, values: Any, prefix: str) -> Any:
    """The part of a table that a sub-section names, or the usual one."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{prefix} is {values!r}; it must be a section with keys of its own.")
    name = values.get("name", default().name)
    require_choice(f"{prefix}.name", name, table)
    return _parse_section(table[name], {"name": name, **values}, prefix)


def _require_key(section: Any, key: str, prefix: str) -> None:
    known = [field.name for field in _fields(section)]
    if key not in known:
        _unknown(key, known, prefix.removesuffix("."))


def _unknown(key: str, known: Any, prefix: str) -> typing.NoReturn:
    dotted = f"{prefix}." if prefix else ""
    raise ConfigError(f"there is no {dotted}{key}. {did_you_mean(key, known, prefix=dotted)}")


def _table_of(config: Config, sections: list[str]) -> Mapping[str, type[Any]] | None:
    """The table that a sub-section's part comes from, if it is one."""
    owner: Any = config
    for section in sections[:-1]:
        owner = getattr(owner, section)
    fields = {field.name: field for field in dataclasses.fields(owner)}
    return fields[sections[-1]].metadata.get("parts") if sections else None


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
