"""`python sample.py ...` is `glowdiff sample ...`, which `--help` explains."""

import sys

from glowdiff.cli.sample import main

if __name__ == "__main__":
    sys.exit(main())
