"""ADM's classifier of noised ImageNet at 128x128 as published (Dhariwal & Nichol, 2021, section 4 and appendix H).

42.6M parameters. It guides `adm/imagenet128`. Needs the data set prepared once: `glowdiff prepare imagenet2012`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import classifier_training


def get_config(mode: str = "") -> Settings:
    config = defaults("classifier")
    config.data.update(name="imagenet2012", size=128, test_split="validation", flip=True, shift=8)
    config.model.process.schedule = "linear"
    config.model.network.res_blocks = 2
    classifier_training(config, steps=300_000)
    return variant(config, mode)
