"""ADM's classifier of noised ImageNet at 64x64 as published (Dhariwal & Nichol, 2021, section 4 and appendix H).

65.4M parameters. It guides `adm/imagenet64`. Needs the data set prepared once: `glowdiff prepare imagenet2012`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import classifier_training


def get_config(mode: str = "") -> Settings:
    config = defaults("classifier")
    config.data.update(name="imagenet2012", size=64, test_split="validation", flip=True, shift=4)
    config.model.process.schedule = "cosine"
    config.model.network.res_blocks = 4
    classifier_training(config, steps=300_000, batch=1024, learning_rate=6e-4)
    return variant(config, mode)
