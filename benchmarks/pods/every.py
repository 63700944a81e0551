"""Every published program, each compiled in a process of its own, so that one that fails ends no other."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.pods.compile import check_compiler
from benchmarks.pods.published import Program, published
from benchmarks.pods.record import head, save

EFFORT = "O0"
CPU_SECONDS = 2_400  # of one compilation: a process that is paused does not run out of it
SAMPLES = 256  # images per call of a sampler
FOLDER = Path("docs/data/pods")


def compile_missing(root: Path, hlo: str | None = None) -> None:
    """Compile the published programs whose record is not there yet, below `root`, and keep a record of each.

    One that takes too long or breaks the compiler is recorded as such; delete its file to try again. One that the
    machine ends, for want of memory say, or the user, is left for the next time.

    Args:
      root: of the repository.
      hlo: a folder to keep the compiled programs' text in.

    Raises:
      ConfigError: the TPU's compiler is not installed.
    """
    check_compiler()
    for program in published():
        path = root / FOLDER / program.file
        if path.exists():
            continue
        print(f"{program.file}: ", end="", flush=True)
        failure = _compile(root, program, path, hlo)
        if path.exists():
            print("compiled", flush=True)
        elif failure:
            record = head(program.kind, program.config, program.settings, program.topology, EFFORT)
            save(path, {**record, "fits": None, "failure": failure})
            print(failure, flush=True)


def _compile(root: Path, program: Program, path: Path, hlo: str | None) -> str | None:
    """Compile one program in a process of its own; why it failed, if that says something about the program."""
    command = [
        sys.executable,
        "benchmarks/pod.py",
        f"--topology={program.topology}",
        f"--effort={EFFORT}",
        f"--program={program.kind}",
        f"--samples={SAMPLES}",
        f"--save={path}",
        f"--config=configs/{program.config}.py",
        *(f"--config.{key}={value}" for key, value in program.settings.items()),
        *([f"--hlo={hlo}"] if hlo else []),
    ]
    done = subprocess.run(
        command,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 60)),
    )
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode == -signal.SIGXCPU:
        return f"not compiled in {CPU_SECONDS // 60} minutes of CPU time"
    if done.returncode in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT) or last.startswith("error: "):
        print(f"ended with {done.returncode}: {last}", flush=True)
        return None
    if done.returncode < 0:
        return f"the compiler crashed ({signal.Signals(-done.returncode).name})"
    return last[:300]
