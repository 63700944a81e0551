"""Flags of ADM and GLIDE as people have them: a release's name, the documented command line, key=value, JSON, files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glowdiff.errors import ConfigError, require
from glowdiff.importers import flags
from glowdiff.importers.releases import RELEASES, release


def read(text: str, releases: Mapping[str, dict[str, Any]] = RELEASES) -> dict[str, Any]:
    """The dictionary of flags in `--flags`, for `glowdiff.importers.adm_flags.parse`; `releases` have theirs by name.

    >>> read("--attention_resolutions 32,16 --class_cond True") == read("attention_resolutions=32,16,class_cond=True")
    True

    Raises:
      ConfigError: it is none of what this module's title says.
    """
    text = text.strip()
    if not text.startswith(("{", "-")) and "=" not in text:
        path = Path(text).expanduser()
        if not path.is_file():
            return release(text, releases=releases)
        text = path.read_text(errors="replace").strip()
    if text.startswith("{"):
        return flags.read(text)
    if text.startswith("-"):
        pairs = re.findall(r"--?(\w+)(?:=|\s+)([^\s-]\S*|-\d+)", text)
        rest = re.sub(r"--?\w+(?:=|\s+)([^\s-]\S*|-\d+)", "", text).strip()
        require(not rest, f"--flags has {rest!r}, where --name value was expected.")
        return dict(pairs)
    # Commas also stand in values: attention_resolutions=32,16,8.
    parts = [part.partition("=") for part in re.split(r"[,\s]+(?=[A-Za-z_]\w*\s*=)", text)]
    if not all(name.strip() and equals for name, equals, _ in parts):
        raise ConfigError(f"--flags is {text!r}; it must be key=value,key=value, JSON, a file, or a release's name "
                          f"such as {next(iter(releases))}.")  # fmt: skip
    return {name.strip(): value.strip() for name, _, value in parts}
