from __future__ import annotations

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture
def float64() -> Iterator[None]:
    """Double precision, so that what is left is the error of the method."""
    with jax.enable_x64(True):
        yield
