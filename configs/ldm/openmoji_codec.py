"""A KL autoencoder of OpenMoji's captioned emoji at 64x64 pixels, four times smaller: the codec of `ldm/openmoji64`.

Sized for two CPU cores.
"""

from glowdiff.catalog.openmoji import openmoji_data
from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("autoencoder")
    openmoji_data(config, 64)
    config.model.network.update(channels=32, channel_mult="1,1,2", res_blocks=1, middle_attention=False)
    config.model.bottleneck.weight = 1e-4
    config.train.update(steps=3_600, batch=8, checkpoint_every=200)
    config.optimizer.update(learning_rate=2e-3, warmup_steps=50, decay="cosine", b1=0.9, b2=0.99)
    config.eval.update(every=400, images=256)
    config.pictures.update(every=400, images=32)
    return variant(config, mode)
