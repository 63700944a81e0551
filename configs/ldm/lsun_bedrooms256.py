"""Latent diffusion on LSUN's bedrooms at 256x256 pixels (Rombach et al., 2022, table 12): LDM-VQ-4, 64x64x3.

274.1M parameters. FID 2.95, with 200 steps of DDIM at eta 1. Its autoencoder is `autoencoder/vq_f4`, trained before, or
part of an imported checkpoint: --config.model.codec.workdir=WORKDIR.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import ldm_256


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", codec="autoencoder")
    config.data.update(name="lsun/bedroom", size=256, test_split="validation")
    ldm_256(config, steps=1_900_000, batch=48)
    config.sampling.eta = 1.0
    return variant(config, mode)
