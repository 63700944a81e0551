"""A noise-aware CLIP of OpenMoji's captioned emoji at 32x32 pixels, to guide `glide/openmoji32`.

Sized for four minutes on one GPU. 8.84M parameters.
"""

from glowdiff.catalog.openmoji import openmoji_data
from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("clip")
    openmoji_data(config, 32)
    config.data.shift = 2
    config.model.network.update(patch=4, width=256, layers=6, heads=4, embedding=256)
    config.model.text.update(context=24, width=256, layers=4, heads=4, vocab_size=2_048)
    config.train.update(steps=6_000, batch=256, clip=1.0)
    config.optimizer.update(learning_rate=5e-4, warmup_steps=300, decay="cosine")
    config.eval.update(batch=256)
    config.dtype = "bfloat16"
    return variant(config, mode)
