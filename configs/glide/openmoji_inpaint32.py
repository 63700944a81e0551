"""GLIDE's inpainting model on OpenMoji at 32x32 pixels, fine-tuned from `glide/openmoji32` with regions erased.

It starts from the workdir runs/glide_openmoji32 (`--config.train.init_from=`); the weights of the new input channels,
known pixels and their mask, start at 0 (Nichol et al., 2021, section 2.5).
"""

from glowdiff.catalog.openmoji import openmoji_glide
from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", text="glide")
    openmoji_glide(config)
    config.model.inpaint = True
    config.train.update(steps=3_000, batch=128, ema_decay=0.999, init_from="runs/glide_openmoji32")
    config.optimizer.update(name="adamw", learning_rate=1e-4, warmup_steps=100, decay="cosine")
    return variant(config, mode)
