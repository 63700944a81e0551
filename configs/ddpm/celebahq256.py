"""DDPM on CelebA-HQ at 256x256 as published (Ho et al., 2020, figure 1 and appendix B), 113.7M parameters.

Needs the data set prepared once: `glowdiff prepare celeb_a_hq/256`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import ddpm_model, ddpm_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.update(name="celeb_a_hq/256", train_split="train[:27000]", test_split="train[27000:]", flip=True)
    ddpm_model(config)
    config.model.process.variance = "fixed_small"
    config.model.network.update(channels=128, channel_mult="1,1,2,2,4,4", remat=True)
    ddpm_training(config, steps=500_000, batch=64, learning_rate=2e-5)
    return variant(config, mode)
