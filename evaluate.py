"""`python evaluate.py ...` is `glowdiff evaluate ...`, which `--help` explains."""

from glowdiff.cli.__main__ import process

if __name__ == "__main__":
    process("evaluate")
