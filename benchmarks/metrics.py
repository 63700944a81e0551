"""Seconds and memory of distances and neighbourhoods, at the sizes at which they are published, beside other programs.

`python benchmarks/metrics.py [--images=50000] [--references=10000] [--width=2048]`: the statistics of features in
batches of 64, and the Fréchet distance of two sets; precision and recall of the images against the references.
Features are random, of low rank and rectified, as Inception's are. Each measurement has a process of its own, whose
memory is the most that it held. With `--peers=PYTHON`, an interpreter that has torch-fidelity and prdc, these compute
the same; prdc holds all pairs of a set in memory, so that it is asked for `--peer_images` of either.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.main import run_main
from benchmarks.report import print_json, print_rows

_IMAGES = flags.DEFINE_integer("images", 50_000, "Samples.", lower_bound=2)
_REFERENCES = flags.DEFINE_integer("references", 10_000, "Real images.", lower_bound=2)
_WIDTH = flags.DEFINE_integer("width", 2_048, "Features of an image.", lower_bound=1)
_PEERS = flags.DEFINE_string("peers", None, "A Python interpreter that has torch-fidelity and prdc.")
_PEER_IMAGES = flags.DEFINE_integer("peer_images", 10_000, "Of either set, for prdc.", lower_bound=2)
_ONE = flags.DEFINE_string("one", None, "Of a measurement's own process: what, and two files.")
_BATCH = 64

# In the other interpreter: what, and two files of features -> a line of JSON.
_PEER = """
import json, resource, sys, time
import numpy as np
what, one, other = sys.argv[1], np.load(sys.argv[2]), np.load(sys.argv[3])
start = time.perf_counter()
if what == "fid":
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    start = time.perf_counter()
    figures = fid_statistics_to_metric(*(fid_features_to_statistics(torch.from_numpy(a)) for a in (one, other)), False)
    figures = list(figures.values())
else:
    from prdc import compute_prdc
    start = time.perf_counter()
    figures = [float(v) for v in compute_prdc(other, one, nearest_k=3).values()]
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"figures": figures, "seconds": time.perf_counter() - start, "GiB": used}))
"""


def main(argv: list[str]) -> None:
    """Measure everything, print."""
    del argv
    if _ONE.value:
        print(json.dumps(_measured(*_ONE.value.split(","))))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        images, references, some, others = (
            _saved(Path(folder) / f"{seed}.npy", count, seed)
            for seed, count in enumerate((_IMAGES.value, _REFERENCES.value, _PEER_IMAGES.value, _PEER_IMAGES.value))
        )
        sizes = f"{_IMAGES.value:,} and {_REFERENCES.value:,}"
        for what, one, other, of in (
            ("fid", images, references, sizes),
            ("neighbours", images, references, sizes),
            ("neighbours", some, others, f"{_PEER_IMAGES.value:,} each"),
        ):
            ours = [sys.executable, __file__, f"--one={what},{one},{other}"]
            rows.append({"what": what, "by": "glowdiff", "of": of} | _run(ours))
            if _PEERS.value and (what == "fid" or one == some):
                by = "torch-fidelity" if what == "fid" else "prdc"
                rows.append({"what": what, "by": by, "of": of} | _run([_PEERS.value, "-c", _PEER, what, one, other]))
    print_rows(f"Features of width {_WIDTH.value:,}:", rows)
    print_json({"rows": rows})


def _measured(what: str, one: str, other: str) -> dict[str, Any]:
    """A measurement in this process, whose imports and compilations count."""
    measure: Callable[[np.ndarray, np.ndarray], list[float]] = {"fid": _fid, "neighbours": _neighbours}[what]
    arrays = np.load(one, mmap_mode="r"), np.load(other, mmap_mode="r")
    start = time.perf_counter()
    figures = measure(*arrays)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"figures": figures, "seconds": time.perf_counter() - start, "GiB": used}


def _fid(one: np.ndarray, other: np.ndarray) -> list[float]:
    from glowdiff.metrics.features import Seen, moments
    from glowdiff.metrics.frechet import frechet_distance

    def seen(features: np.ndarray) -> Any:
        for start in range(0, len(features), _BATCH):
            rows = np.array(features[start : start + _BATCH])
            yield Seen(np.arange(start, start + len(rows)), {"pool3": rows})

    return [frechet_distance(*(moments(seen(each), "pool3").gaussian() for each in (one, other)))]


def _neighbours(one: np.ndarray, other: np.ndarray) -> list[float]:
    from glowdiff.metrics.neighbours import neighbourhoods

    return list(neighbourhoods(np.array(other), np.array(one), closed=False))


def _saved(path: Path, count: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(_WIDTH.value // 8 + 1, _WIDTH.value)).astype(np.float32)
    features = np.lib.format.open_memmap(path, "w+", np.float32, (count, _WIDTH.value))
    for start in range(0, count, 4_096):
        rows = features[start : start + 4_096]
        hidden = rng.standard_normal((len(rows), len(mixing)), np.float32)
        rows[:] = np.maximum(
            hidden @ mixing / len(mixing) ** 0.5 + 0.1 * rng.standard_normal(rows.shape, np.float32), 0
        )
    return str(path)


def _run(command: list[str]) -> dict[str, Any]:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        return {"seconds": "failed", "GiB": "", "figures": result.stderr.strip().splitlines()[-1][:120]}
    found = json.loads(result.stdout.splitlines()[-1])
    figures = ", ".join(f"{value:.6g}" for value in found["figures"])
    return {"seconds": round(found["seconds"], 1), "GiB": round(found["GiB"], 2), "figures": figures}


if __name__ == "__main__":
    run_main(main)
