"""`glowdiff import` is `glowdiff import`."""

import sys

from glowdiff.importers.command import main

if __name__ == "__main__":
    sys.exit(main())
