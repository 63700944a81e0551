"""glowdiff: normalizing flows and diffusion models in JAX.

>>> import glowdiff
>>> glowdiff.__version__
'0.1.0'
"""

from glowdiff.inference.cascade import Cascade, load_cascade
from glowdiff.inference.model import Model, load

__version__ = "0.1.0"
__all__ = ["Cascade", "Model", "load", "load_cascade"]
