"""`glowdiff evaluate --sweep`: the same measurement for several values of an option, as a table and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from glowdiff.cli import drawing
from glowdiff.cli.flags import Flags, Parsed
from glowdiff.cli.paths import check_ending
from glowdiff.errors import did_you_mean, printable, require
from glowdiff.metrics.measurement import Figure
from glowdiff.pictures.files import write_png
from glowdiff.pictures.plot import Line, Panel, plot

SWEPT = [*drawing.OPTIONS, *drawing.SCALES, *drawing.OF_UPSAMPLERS]
_EXAMPLE = "such as --sweep=guidance_scale=1,2,4"
# What is bought with what, where both are measured: each of the first with the first of the others that is there.
_TRADED = {"recall": ("precision",), "clip_score": ("fid", "fd", "kid", "cmmd"), "fid": ("is", "is_adm")}


class Sweep(NamedTuple):
    """Values of an option, one after the other."""

    name: str
    values: list[str]  # as typed
    points: list[Parsed]  # the command, with each of them


def add(flags: Flags) -> None:
    """Add the flags of sweeps."""
    flags.add("sweep", "For each of these values: guidance_scale=1,2,4.", shown="OPTION=VALUES")
    flags.add("plot", "Of a sweep, a .png; else WORKDIR/sweeps/OPTION.png.", shown="FILE")


def read(flags: Flags, arguments: Sequence[str], typed: Parsed) -> Sweep | None:
    """The sweep that is asked for; None: there is none.

    Args:
      flags: of the command.
      arguments: as typed, to which each value is added as a flag of its own.
      typed: the same, parsed.

    Raises:
      ConfigError: there is no such option, or it cannot have one of the values.
    """
    if typed.sweep is None:
        require("plot" not in typed.given, "--plot is given, but no --sweep of which there could be one.")
        return None
    name, _, text = typed.sweep.partition("=")
    name = name.strip().replace("-", "_")
    # Steps may have commas of their own.
    values = [value.strip() for value in text.split(";" if ";" in text else ",") if value.strip()]
    require(bool(name and values), f"--sweep is {typed.sweep!r}; it must be OPTION=VALUE,VALUE, {_EXAMPLE}.")
    require(name in SWEPT, f"--sweep is of {name}, which is no option of samples. {did_you_mean(name, SWEPT)}")
    require(name not in typed.given, f"--{name} is given, and --sweep of {name}; leave one of them out.")
    require(len(values) > 1, f"--sweep has one value; type --{name}={values[0]}, or several values, {_EXAMPLE}.")
    twice = [value for value in dict.fromkeys(values) if values.count(value) > 1]
    require(not twice, f"--sweep has {', '.join(twice)} more than once.")
    require("workdir" in typed.given, "--sweep is given, but no --workdir whose model could draw.")
    if typed.plot is not None:
        check_ending("--plot", typed.plot, ".png")
    return Sweep(name, values, [flags.parse([*arguments, f"--{name}={value}"]) for value in values])


def draw(path: str, swept: Sweep, found: Sequence[Sequence[Figure]]) -> None:
    """Write the plot of a sweep, and say where: what is traded for what, and each figure over the values."""
    by_name = {figures[0].short: [each.value for each in figures] for figures in zip(*found, strict=True)}
    panels = []
    for x, others in _TRADED.items():
        y = next((other for other in others if other in by_name), None)
        if x in by_name and y is not None:
            panels.append(Panel(x, y, [Line("", list(zip(by_name[x], by_name[y], strict=True)), swept.values)]))
    places, names = _places(swept.values)
    for name, values in by_name.items():
        if not name.endswith("_deviation"):
            line = Line("", list(zip(places, values, strict=True)))
            panels.append(Panel(swept.name, name, [line], names, far=True))
    write_png(path, plot(panels, title=f"by {swept.name}"), least=1)
    print(printable(f"plot       {path}"))


def _places(values: Sequence[str]) -> tuple[list[float], Sequence[str]]:
    """Where values stand on an axis, and if they are no numbers their names."""
    try:
        return [float(value) for value in values], ()
    except ValueError:
        return [float(number) for number in range(len(values))], values
