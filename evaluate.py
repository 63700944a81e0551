"""`python evaluate.py ...` is `glowdiff evaluate ...`, which `--help` explains."""

import sys

from glowdiff.cli.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
