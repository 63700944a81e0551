"""DDPM on LSUN bedrooms at 256x256 as published (Ho et al., 2020, table 3): FID 6.36, 113.7M parameters.

Its images are not mirrored (appendix B). Needs the data set prepared once: `glowdiff prepare lsun/bedroom`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import ddpm_model, ddpm_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.update(name="lsun/bedroom", size=256, test_split="validation")
    ddpm_model(config)
    config.model.process.variance = "fixed_small"
    config.model.network.update(channels=128, channel_mult="1,1,2,2,4,4", remat=True)
    ddpm_training(config, steps=2_400_000, batch=64, learning_rate=2e-5)
    return variant(config, mode)
