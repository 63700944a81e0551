"""Score a model on its test set: `python evaluate.py --workdir=runs/glow_digits`."""

import jax
from absl import flags

import glowdiff
from glowdiff.data.batches import test_batches
from glowdiff.data.dataset import load
from glowdiff.main import initialize, run_main
from glowdiff.metrics.bits_per_dim import make_evaluator

_WORKDIR = flags.DEFINE_string("workdir", None, "What train.py wrote.", required=True)
_BATCH = flags.DEFINE_integer("batch", 64, "Images at a time; changes no figure.", lower_bound=1)
_STEP = flags.DEFINE_integer("step", None, "The checkpoint; the newest unless given.")
_EMA = flags.DEFINE_bool("ema", True, "Averaged parameters rather than raw ones.")


def main(argv: list[str]) -> None:
    """Parse, and call the package."""
    del argv
    initialize()
    model = glowdiff.load(_WORKDIR.value, step=_STEP.value, ema=_EMA.value)
    dataset = load(model.config.data)
    batches = test_batches(
        dataset,
        batch=-(-_BATCH.value // model.mesh.size) * model.mesh.size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    bits = make_evaluator(model.method, model.mesh)(model.variables, batches)
    if jax.process_index() == 0:
        print(f"test bits/dim: {bits:.4f}  ({len(dataset.test):,} images, step {model.step})")


if __name__ == "__main__":
    run_main(main)
