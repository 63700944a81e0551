"""`python -m glowdiff COMMAND` is the command `glowdiff COMMAND`."""

from glowdiff.cli.__main__ import process

if __name__ == "__main__":
    process()
