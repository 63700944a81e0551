"""glowdiff: normalizing flows and diffusion models in JAX.

>>> import glowdiff
>>> glowdiff.__version__
'0.1.0'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glowdiff.inference.cascade import Cascade, load_cascade
    from glowdiff.inference.model import Model, load

__version__ = "0.1.0"
__all__ = ["Cascade", "Model", "load", "load_cascade"]


def __getattr__(name: str) -> Any:
    """What is in `__all__`, imported when it is first used, so that `glowdiff --help` does not wait for JAX."""
    if name not in __all__:
        raise AttributeError(f"module 'glowdiff' has no attribute {name!r}")
    module = "cascade" if name in ("Cascade", "load_cascade") else "model"
    return getattr(import_module(f"glowdiff.inference.{module}"), name)
