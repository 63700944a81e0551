"""Super-resolution of OpenMoji's emoji from 16x16 to 32x32 pixels: ADM's upsampler on embedded data.

`sample.py --low_res=FILE` enlarges a picture, or the samples of a model of 16x16 emoji.
"""

from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.update(name="openmoji", size=32)
    config.model.process.update(schedule="linear", variance="learned")
    config.model.network.update(
        channels=64, channel_mult="1,2,2", res_blocks=1, attention="8", head_channels=32, updown=True,
    )  # fmt: skip
    config.model.update(loss="hybrid", low_res=16)
    config.train.update(steps=20_000, batch=64, ema_decay=0.999)
    config.optimizer.update(learning_rate=3e-4, warmup_steps=500)
    config.sampling.update(sampler="dpmpp_2m", steps="20", spacing="log_snr")
    config.pictures.images = 16
    return variant(config, mode)
