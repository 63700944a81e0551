"""From the names and axes of published checkpoints to our parameters."""

from glowdiff.importers.adm import adm
from glowdiff.importers.clip import clip
from glowdiff.importers.glide import glide
from glowdiff.importers.glow import glow

__all__ = ["adm", "clip", "glide", "glow"]
