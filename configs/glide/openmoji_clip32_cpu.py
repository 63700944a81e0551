"""A small noise-aware CLIP of OpenMoji's captioned emoji at 32x32 pixels, to guide `glide/openmoji32_cpu`.

Four minutes on one CPU core. 1.444M parameters.
"""

from glowdiff.catalog.openmoji import openmoji_data
from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("clip")
    openmoji_data(config, 32)
    config.data.shift = 2
    config.model.network.update(patch=8, width=128, layers=3, heads=4, embedding=128)
    config.model.text.update(context=24, width=128, layers=2, heads=4, vocab_size=2_048)
    config.train.update(steps=2_000, batch=64, clip=1.0)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=100, decay="cosine")
    config.eval.update(batch=256)
    return variant(config, mode)
