"""What was saved last, written beside the checkpoints: where these have been lost, no run starts afresh."""

from __future__ import annotations

from etils import epath

from glowdiff.files import write_whole
from glowdiff.workdir.faults import CheckpointError

FILE = "last_step"  # in a workdir


def write(workdir: epath.Path, step: int) -> None:
    """A step has been saved completely."""
    write_whole(workdir / FILE, f"{step}\n")


def check_not_lost(workdir: epath.Path) -> None:
    """Raise `CheckpointError` if a run that has no checkpoint had one, or has a log and no folder of checkpoints."""
    begun = ""
    if (workdir / FILE).exists():
        begun = f"has been saved up to step {(workdir / FILE).read_text()[:20].strip()}, but holds no checkpoint"
    elif (workdir / "metrics.jsonl").exists() and not (workdir / "checkpoints").exists():
        begun = "holds the metrics.jsonl of a run, but no folder checkpoints"
    if begun:
        raise CheckpointError(
            f"{workdir} {begun}. Has checkpoints/ been moved or renamed, is its disk mounted, was it copied? To start "
            "over, use another workdir, or remove this one."
        )
