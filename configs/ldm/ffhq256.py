"""Latent diffusion on FFHQ at 256x256 pixels (Rombach et al., 2022, table 12): LDM-VQ-4, in latents of 64x64x3.

274.1M parameters. FID 4.98, with 200 steps of DDIM at eta 1. Its autoencoder is `autoencoder/vq_f4`, trained before, or
part of an imported checkpoint: --config.model.codec.workdir=WORKDIR. The images are a folder of yours:
--config.data.path=FOLDER.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import ldm_256


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", codec="autoencoder")
    config.data.update(name="folder", path="ffhq", size=256, flip=True)
    ldm_256(config, steps=635_000, batch=42)
    config.sampling.eta = 1.0
    return variant(config, mode)
