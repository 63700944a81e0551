"""ADM on ImageNet at 64x64, class-conditional, as published (Dhariwal & Nichol, 2021, tables 4 and 5): FID 2.07.

295.9M parameters, 250 steps. Needs the data set prepared once: `glowdiff prepare imagenet2012`.

Fits v5e-16 with `--config.mesh.fsdp=16`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import adm_model, adm_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.update(name="imagenet2012", size=64, test_split="validation", flip=True)
    adm_model(config, schedule="cosine")
    config.model.network.update(channels=192, res_blocks=3, new_attention_order=True, dropout=0.1)
    config.model.class_conditional = True
    adm_training(config, steps=540_000, batch=2048, learning_rate=3e-4)
    return variant(config, mode)
