"""Whether training loses anything to kills and flipped bits: `python benchmarks/kills.py --kills=60 --flips=120`.

A small run is killed (`kill -9`) at random moments, through compiling, saving, evaluating and drawing, and started
again with the same command, until it has been killed so often. It must never start afresh once it has saved, leave
nothing behind, and end with the arrays, metrics and pictures of a run that nobody disturbed, bit for bit. Then single
bits are flipped all over the files of a step: each must be named as damage, or change nothing.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags, logging

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.main import run_main
from glowdiff.training.experiment import build
from glowdiff.workdir import description
from glowdiff.workdir.checkpoint import CheckpointError, Checkpoints
from glowdiff.workdir.checksum import key_data, leaves_by_path

_KILLS = flags.DEFINE_integer("kills", 60, "How often the run is killed.")
_FLIPS = flags.DEFINE_integer("flips", 120, "How many bits are flipped, one at a time.")
_FOLDER = flags.DEFINE_string("folder", "runs/kills", "Where the runs go; it is emptied.")
_SEED = flags.DEFINE_integer("seed", 0, "Another seed kills at other moments.")

_ROOT = Path(__file__).resolve().parents[1]
_TIMING = ("images_per_second", "data_wait", "time")  # what two equal runs do not share
_STEPS, _EVERY = 12_000, 50  # long enough for all the kills; the last ones go on to the end undisturbed
_CHANGES = {
    "train.steps": _STEPS, "train.log_every": 1, "train.checkpoint_every": _EVERY, "eval.every": 600,
    "pictures.every": 1200, "model.levels": 1, "model.depth": 1,
}  # fmt: skip


def main(argv: list[str]) -> None:
    """Kill, compare, flip."""
    del argv
    folder = Path(_FOLDER.value)
    shutil.rmtree(folder, ignore_errors=True)
    dice = random.Random(_SEED.value)
    undisturbed, killed = folder / "undisturbed", folder / "killed"
    subprocess.run(_command(undisturbed), check=True, capture_output=True)
    last = 0
    for number in range(1, _KILLS.value + 1):
        last = _kill_once(killed, dice, number, last)
    ended = subprocess.run(_command(killed), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    _compare(undisturbed, killed)
    print(f"{_KILLS.value} kills: arrays, metrics and pictures are those of the undisturbed run, bit for bit.")
    print(_flip(undisturbed, dice))


def _command(workdir: Path) -> list[str]:
    keys = [f"--config.{key}={value}" for key, value in _CHANGES.items()]
    return [sys.executable, str(_ROOT / "train.py"), "--config=glow/digits:smoke", f"--workdir={workdir}", *keys]


def _kill_once(workdir: Path, dice: random.Random, number: int, last: int) -> int:
    """Start the run, kill it, and return the last step that was saved, which is never an earlier one."""
    process = subprocess.Popen(_command(workdir), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(dice.uniform(0, 14))
    process.kill()
    out, err = (text.decode() for text in process.communicate())
    assert process.returncode in (0, -9), err
    assert "damaged" not in err, err
    if last and "Compiling" in out:
        assert f"Going on after step {last}" in out, f"it started afresh: {out}"
    with Checkpoints(workdir) as checkpoints:
        steps = checkpoints.steps()
    assert not steps or steps[-1] >= last, f"step {last} was lost"
    print(f"kill {number}: saved up to step {steps[-1] if steps else 0}", flush=True)
    return steps[-1] if steps else 0


def _compare(undisturbed: Path, killed: Path) -> None:
    wanted, arrays = _arrays(undisturbed, _STEPS), _arrays(killed, _STEPS)
    assert {path for path in wanted if wanted[path] != arrays[path]} == set()
    assert _lines(killed) == _lines(undisturbed)
    for picture in (undisturbed / "samples").iterdir():
        assert (killed / "samples" / picture.name).read_bytes() == picture.read_bytes()
    names = [sorted(path.name for path in workdir.iterdir()) for workdir in (undisturbed, killed)]
    steps = [sorted(path.name for path in (workdir / "checkpoints").iterdir()) for workdir in (undisturbed, killed)]
    assert names[0] == names[1], f"left behind: {names}"
    assert steps[0] == steps[1], f"left behind: {steps}"


def _flip(workdir: Path, dice: random.Random) -> str:
    """Flip bits of the newest step, one at a time, and count what comes of it; an array is never another one."""
    logging.set_verbosity(logging.ERROR)
    wanted = _arrays(workdir, _STEPS)
    files = [path for path in (workdir / "checkpoints" / str(_STEPS)).rglob("*") if path.is_file()]
    named, harmless = 0, 0
    for _ in range(_FLIPS.value):
        path = dice.choice(files)
        content = path.read_bytes()
        if not content:
            continue
        wrong = bytearray(content)
        wrong[dice.randrange(len(wrong))] ^= 1 << dice.randrange(8)
        path.write_bytes(wrong)
        try:
            arrays = _arrays(workdir, _STEPS)
        except CheckpointError:
            named += 1
        else:
            assert arrays == wanted, f"a flipped bit of {path} changed an array, and nobody was told"
            harmless += 1
        path.write_bytes(content)
    return (
        f"{named + harmless} flipped bits: {named} named as damage, {harmless} changed nothing, none changed an array."
    )


def _arrays(workdir: Path, step: int) -> dict[str, bytes]:
    like = build(description.read(workdir).config).abstract_state()._asdict()
    with Checkpoints(workdir) as checkpoints:
        state = checkpoints.restore(step, like).state
    return {path: np.asarray(key_data(leaf)).tobytes() for path, leaf in leaves_by_path(state).items()}


def _lines(workdir: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in _TIMING} for row in rows]


if __name__ == "__main__":
    run_main(main)
