"""Which methods there are: for each name, the dataclass of its `model` section and what builds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from glowdiff.data.spec import DataSpec
from glowdiff.flows.config import GlowConfig
from glowdiff.flows.method import glow_method
from glowdiff.method import Method


@dataclass(frozen=True)
class Entry:
    """A method's configuration and constructor."""

    config: type[Any]  # dataclass with check() and check_data(spec, data)
    build: Callable[[Any, DataSpec, str], Method]  # (model configuration, data, dtype)


METHODS: dict[str, Entry] = {
    "glow": Entry(GlowConfig, glow_method),
}
