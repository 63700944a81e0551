"""`python train.py ...` is `glowdiff train ...`, which `--help` explains."""

import sys

from glowdiff.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
