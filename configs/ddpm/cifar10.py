"""DDPM on CIFAR-10 as published (Ho et al., 2020, table 1): FID 3.17, at most 3.75 bits/dim, 35.7M parameters.

Needs the data set prepared once: `glowdiff prepare cifar10`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import ddpm_model, ddpm_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.update(name="cifar10", flip=True)
    ddpm_model(config)
    config.model.process.variance = "fixed_large"
    config.model.network.update(channels=128, channel_mult="1,2,2,2", dropout=0.1)
    ddpm_training(config, steps=800_000, batch=128, learning_rate=2e-4)
    return variant(config, mode)
