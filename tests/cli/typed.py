"""Commands as a person types them, within the process of the test."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import NamedTuple


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The line of a mistake, which is all that is printed."""
        assert self.code == 1, self
        assert self.out == "", self.out
        assert self.err.startswith("error: "), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err


def typed(main: Callable[..., int], *words: str) -> Result:
    """What a command prints, and its exit status."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    return Result(code, out.getvalue(), err.getvalue())
