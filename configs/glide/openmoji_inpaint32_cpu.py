"""GLIDE's inpainting model on OpenMoji at 32x32 pixels, fine-tuned from `glide/openmoji32_cpu` on two CPU cores.

13 CPU minutes. It starts from the workdir runs/glide_openmoji32_cpu (`--config.train.init_from=`).
"""

from glowdiff.catalog.openmoji import openmoji_glide_cpu
from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", text="glide")
    openmoji_glide_cpu(config)
    config.model.inpaint = True
    config.train.update(steps=600, batch=32, ema_decay=0.995, checkpoint_every=200)
    config.train.init_from = "runs/glide_openmoji32_cpu"
    config.optimizer.update(learning_rate=5e-4, warmup_steps=50, decay="cosine")
    return variant(config, mode)
