"""Which steps are profiled: `FROM:TO`, a slice of them."""

from __future__ import annotations

import re
from typing import NamedTuple

from glowdiff.errors import ConfigError, require, shown


class Span(NamedTuple):
    """What lies between the end of step `first` and the end of step `last`: `last - first` steps.

    >>> str(Span(10, 13))
    '10:13'
    """

    first: int
    last: int

    def __str__(self) -> str:
        """As it is typed."""
        return f"{self.first}:{self.last}"

    def check_within(self, done: int, total: int, what: str) -> None:
        """Check that all of it is still to come.

        Args:
          done: steps that are behind already.
          total: steps in all.
          what: says the total, such as "train.steps is 500".

        Raises:
          ConfigError: it is not.
        """
        require(self.last <= total, f"profile is {self}, but {what}: TO is {total} at most.")
        require(self.first >= done, f"profile is {self}, but {done} steps are done already: FROM is {done} at least.")


def read_span(key: str, text: str) -> Span:
    """The span that `FROM:TO` is; `key` is what it is called in messages.

    >>> read_span("--profile", "10:13")
    Span(first=10, last=13)

    Raises:
      ConfigError: it is another text, empty or backwards.
    """
    match = re.fullmatch(r"(\d{1,12}):(\d{1,12})", text, re.ASCII)
    if match is None:
        raise ConfigError(f"{key} is {shown(text)}; it must be FROM:TO, such as 10:13 for the three after the tenth.")
    span = Span(int(match[1]), int(match[2]))
    require(span.first != span.last, f"{key} is {span}, which is empty; {span.first}:{span.first + 1} is one step.")
    require(span.first < span.last, f"{key} is {span}, backwards; perhaps {span.last}:{span.first}?")
    return span
