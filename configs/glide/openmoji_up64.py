"""GLIDE's upsampler on OpenMoji: emoji of 32x32 pixels and their captions to 64x64, within 20 minutes of two CPU cores.

The second stage of `sample.py --workdir=BASE --upsampler=WORKDIR`.
"""

from glowdiff.catalog.openmoji import openmoji_data
from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", text="glide")
    openmoji_data(config, 64)
    config.model.process.update(schedule="linear", prediction="v")
    config.model.network.update(channels=32, channel_mult="1,1,2,2", res_blocks=1, attention="8", heads=4)
    config.model.text.update(context=24, width=128, layers=2, heads=4)
    config.model.update(weighting="min_snr", low_res=32)
    config.train.update(steps=600, batch=16, ema_decay=0.995, checkpoint_every=250)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=50, decay="cosine")
    config.eval.update(images=128)
    config.sampling.update(sampler="dpmpp_2m", steps="10", spacing="log_snr")
    config.pictures.update(images=16, every=500)
    return variant(config, mode)
