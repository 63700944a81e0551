"""`python -m glowdiff COMMAND` is the command `glowdiff COMMAND`."""

import sys

from glowdiff.cli.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
