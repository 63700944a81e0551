"""Latent diffusion on CelebA-HQ at 256x256 pixels (Rombach et al., 2022, table 12): LDM-VQ-4, in latents of 64x64x3.

274.1M parameters. FID 5.11, with 200 steps of DDIM. Its autoencoder is `autoencoder/vq_f4`, trained before, or part of
an imported checkpoint: --config.model.codec.workdir=WORKDIR.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import ldm_256


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", codec="autoencoder")
    config.data.update(name="celeb_a_hq/256")
    ldm_256(config, steps=410_000, batch=48)
    return variant(config, mode)
