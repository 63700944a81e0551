"""From noise to data: samplers, guidance, and the levels they walk along."""

from glowdiff.samplers.ancestral import ancestral
from glowdiff.samplers.ddim import ddim
from glowdiff.samplers.sampler import Sampler

SAMPLERS: dict[str, Sampler] = {
    "ancestral": ancestral,
    "ddim": ddim,
}
