"""ADM on LSUN bedrooms at 256x256 as published (Dhariwal & Nichol, 2021, table 5): FID 1.90, 552.8M parameters.

1,000 steps. Needs the data set prepared once: `glowdiff prepare lsun/bedroom`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import adm_model, adm_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.update(name="lsun/bedroom", size=256, test_split="validation", flip=True)
    adm_model(config)
    config.model.network.update(channels=256, res_blocks=2, dropout=0.1)
    adm_training(config, steps=750_000)
    config.sampling.steps = "1000"
    return variant(config, mode)
