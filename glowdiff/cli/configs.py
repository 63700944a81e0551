"""`glowdiff configs`: the configurations that come with the package, their data, and what was published."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from glowdiff.cli.configurations import docstring, load, names
from glowdiff.cli.flag import WIDTH
from glowdiff.cli.flags import Flags
from glowdiff.cli.main import command
from glowdiff.errors import ConfigError, likely

# Figures that papers report, as the docstrings write them, outside of parentheses.
_FIGURES = re.compile(r"FID \d+\.\d+|\d+\.\d+ with (?:classifier )?guidance|(?:at most )?\d+\.\d+ bits/dim")
_PUBLISHED = re.compile(r"\([A-Z][^()]*(?:19|20)\d\d[^()]*\)")  # (Kingma & Dhariwal, 2018, table 2)


def flags() -> Flags:
    """What the command takes."""
    flags = Flags(
        "glowdiff configs", "Lists the configurations with their data and published results.",
        "README.md and docs/results.md", "[NAME]",
    )  # fmt: skip
    flags.add_word("name", "Those whose names begin so; of a whole name, all that it says: glow/digits.")
    return flags


@command
def main(arguments: Sequence[str]) -> None:
    """Parse, and call the package."""
    typed = flags().parse(arguments)
    start = typed.name or ""
    if start in names():
        print(f"--config={start}\n\n{docstring(start)}")
        return
    chosen = [name for name in names() if name.startswith(start)]
    if not chosen:
        hint = "".join(f" Did you mean {close}?" for close in likely(start, names()))
        raise ConfigError(f"there is no configuration {start}.{hint} `glowdiff configs` lists them.")
    rows = [(name, data(name), published(name)) for name in chosen]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, images, figures in rows:
        print(f"{name:{widths[0]}}  {images:{widths[1]}}  {figures}".rstrip())
    print("\n" + textwrap.fill("`glowdiff configs NAME` says more; --config=NAME:smoke runs in seconds.", WIDTH))


def data(name: str) -> str:
    """Which images a configuration of the package learns from."""
    if not _is_whole(name):
        return "a folder of yours"
    section = load(name).data
    size = f" {section.size}" if section.size else ""
    return f"{section.name}{size}"


def published(name: str) -> str:
    """What a paper reports of it; nothing where it has not been published."""
    text = " ".join(docstring(name).split())
    if _PUBLISHED.search(text) is None:
        return ""
    figures = _FIGURES.findall(re.sub(r"\([^()]*\)", "", text))
    return ", ".join(re.sub(r"with (?:classifier )?guidance", "guided", figure) for figure in figures)


def _is_whole(name: str) -> bool:
    """Whether it needs no argument, as a fine-tune needs a workdir."""
    return name != "finetune"
