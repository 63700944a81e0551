"""A KL autoencoder of OpenMoji's captioned emoji at 64x64 pixels, four times smaller: the codec of `ldm/openmoji64`.

Sized for two CPU cores.
"""

from glowdiff.catalog.openmoji import openmoji_data
from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("autoencoder")
    openmoji_data(config, 64)
    config.model.network.update(channels=32, channel_mult="1,2,2", res_blocks=1, middle_attention=False)
    config.train.update(steps=2_000, batch=16, checkpoint_every=250)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=50, decay="cosine", b1=0.9, b2=0.99)
    config.eval.update(every=250, images=256)
    config.pictures.update(every=250, images=24)
    return variant(config, mode)
