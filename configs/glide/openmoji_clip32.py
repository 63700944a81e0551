"""A noise-aware CLIP of OpenMoji's captioned emoji at 32x32 pixels, to guide `glide/openmoji32`.

Sized for four minutes on one GPU. 8.84M parameters.
"""

from glowdiff.catalog.openmoji import openmoji_data
from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("clip")
    openmoji_data(config, 32)
    config.data.shift = 2
    config.model.update(
        patch=4, image_width=256, image_layers=6, image_heads=4, embedding=256,
        text_context=24, text_width=256, text_layers=4, text_heads=4, vocab_size=2_048,
    )  # fmt: skip
    config.train.update(steps=6_000, batch=256, clip=1.0)
    config.optimizer.update(learning_rate=5e-4, warmup_steps=300, decay="cosine")
    config.eval.update(batch=256)
    config.dtype = "bfloat16"
    return variant(config, mode)
