"""Train a model: `python train.py --config=configs/glow/digits.py --workdir=runs/glow_digits`.

Any key of the configuration is a flag (`--config.train.steps=2000`); the same command goes on after an interruption.
"""

from absl import flags
from ml_collections import config_flags

from glowdiff.catalog.parse import parse
from glowdiff.cli.main import initialize, run_main
from glowdiff.metrics.scores import describe
from glowdiff.training.loop import train

_CONFIG = config_flags.DEFINE_config_file("config", None, "The configuration, such as configs/glow/digits.py.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where checkpoints, metrics and pictures go; local or gs://.", required=True
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Check everything and print the table, without training.")


def main(argv: list[str]) -> None:
    """Parse, and call the package."""
    del argv
    initialize()
    metrics = train(parse(_CONFIG.value), _WORKDIR.value, dry_run=_DRY_RUN.value)
    for name, value in metrics.items():
        if name.startswith("test_"):
            print(f"{describe(name)}: {value:.4f}")


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    run_main(main)
