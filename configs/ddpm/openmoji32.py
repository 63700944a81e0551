"""DDPM on the 4,128 coloured emoji of OpenMoji at 32x32 pixels, on white: drawings without a download.

Sized for one GPU.
"""

from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.update(name="openmoji", size=32)
    config.model.process.schedule = "cosine"
    config.model.network.update(
        channels=128, channel_mult="1,2,2", res_blocks=2, attention="16,8", heads=4, dropout=0.1,
    )  # fmt: skip
    config.train.update(steps=40_000, batch=64, ema_decay=0.999)
    config.optimizer.update(learning_rate=2e-4, warmup_steps=500)
    config.sampling.update(sampler="dpmpp_2m", steps="25", spacing="log_snr")
    return variant(config, mode)
