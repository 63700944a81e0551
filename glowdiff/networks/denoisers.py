"""The denoisers that there are, by the name of their `network` section."""

from __future__ import annotations

from glowdiff.networks.adm import ADM
from glowdiff.networks.ldm import LDM

DENOISERS = {"adm": ADM, "ldm": LDM}
