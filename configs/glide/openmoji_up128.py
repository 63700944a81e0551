"""GLIDE's upsampler on OpenMoji, the third stage: emoji of 64x64 pixels and their captions to 128x128.

Sized for one GPU.
"""

from glowdiff.catalog.openmoji import openmoji_data
from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", text="glide")
    openmoji_data(config, 128)
    config.model.process.update(schedule="linear", prediction="v")
    config.model.network.update(channels=64, channel_mult="1,1,2,2,4", res_blocks=1, attention="16,8", head_channels=32)
    config.model.text.update(context=24, width=256, layers=4, heads=4)
    config.model.update(weighting="min_snr", low_res=64)
    config.train.update(steps=10_000, batch=64, ema_decay=0.999)
    config.optimizer.update(learning_rate=3e-4, warmup_steps=500, decay="cosine")
    config.sampling.update(sampler="dpmpp_2m", steps="10", spacing="log_snr")
    config.pictures.images = 16
    config.dtype = "bfloat16"
    return variant(config, mode)
