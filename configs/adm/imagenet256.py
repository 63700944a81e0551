"""ADM on ImageNet at 256x256, class-conditional, as published (Dhariwal & Nichol, 2021, tables 4 and 5).

FID 10.94, 4.59 with classifier guidance at scale 1; 553.8M parameters, 250 steps. Needs the data set prepared once:
`glowdiff prepare imagenet2012`.

Fits v5e-16 with `--config.mesh.fsdp=16`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import adm_model, adm_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.update(name="imagenet2012", size=256, test_split="validation", flip=True)
    adm_model(config)
    config.model.network.update(channels=256, res_blocks=2)
    config.model.class_conditional = True
    adm_training(config, steps=1_980_000)
    return variant(config, mode)
