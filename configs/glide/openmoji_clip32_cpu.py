"""A small noise-aware CLIP of OpenMoji's captioned emoji at 32x32 pixels, to guide `glide/openmoji32_cpu`.

Four minutes on one CPU core. 1.44M parameters.
"""

from glowdiff.config.parse import Settings, defaults, variant
from glowdiff.config.recipes import OPENMOJI_HELD_OUT


def get_config(mode: str = "") -> Settings:
    config = defaults("clip")
    config.data.update(name="openmoji", size=32, shift=2, hold_out=OPENMOJI_HELD_OUT)
    config.model.update(
        patch=8, image_width=128, image_layers=3, image_heads=4, embedding=128,
        text_context=24, text_width=128, text_layers=2, text_heads=4, vocab_size=2_048,
    )  # fmt: skip
    config.train.update(steps=2_000, batch=64, clip=1.0)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=100, decay="cosine")
    config.eval.update(batch=256)
    return variant(config, mode)
