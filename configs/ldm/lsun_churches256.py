"""Latent diffusion on LSUN's churches at 256x256 pixels (Rombach et al., 2022, table 12): LDM-KL-8, 32x32x4.

295.0M parameters. FID 4.02, with 200 steps of DDIM. The loss is L1's in the original and L2's here. Its autoencoder is
`autoencoder/kl_f8`, trained before, or part of an imported checkpoint: --config.model.codec.workdir=WORKDIR.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import latent_model, latent_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", codec="autoencoder")
    config.data.update(name="lsun/church_outdoor", size=256, test_split="validation")
    config.model.codec.workdir = "runs/kl_f8"
    latent_model(config, end=0.0155)
    config.model.network.update(
        channels=192, channel_mult="1,2,2,4,4", attention="32,16,8,4", heads=8, head_channels=None, adagn=True,
        updown=True, remat=True,
    )  # fmt: skip
    latent_training(config, steps=500_000, batch=96, learning_rate=5e-5)
    config.optimizer.warmup_steps = 10_000
    return variant(config, mode)
