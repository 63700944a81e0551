"""From noise to data: samplers, guidance, and the levels they walk along."""

from glowdiff.samplers.ancestral import ancestral
from glowdiff.samplers.ddim import ddim
from glowdiff.samplers.dpm_solver import dpmpp_2m, dpmpp_2m_sde
from glowdiff.samplers.edm import euler, heun
from glowdiff.samplers.euler_ancestral import euler_ancestral
from glowdiff.samplers.plms import plms
from glowdiff.samplers.sampler import Sampler
from glowdiff.samplers.unipc import unipc

SAMPLERS: dict[str, Sampler] = {
    "ancestral": ancestral,
    "ddim": ddim,
    "plms": plms,
    "euler": euler,
    "euler_ancestral": euler_ancestral,
    "heun": heun,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_2m_sde": dpmpp_2m_sde,
    "unipc": unipc,
}
