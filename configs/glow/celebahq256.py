"""Glow on CelebA-HQ at 256x256, 5 bits, as published (Kingma & Dhariwal, 2018, table 3): 1.03 bits/dim.

169.8M parameters; the 175M of the original count 5.3M of its top prior that convolve zeros, which are left out here.

The paper's batch is 1 per device on 40 devices. Needs the data set prepared once: `glowdiff prepare celeb_a_hq/256`.

Fits v5e-16 with `--config.train.batch=48`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import glow_training


def get_config(mode: str = "") -> Settings:
    config = defaults("glow")
    # TFDS knows one split; the last 3,000 of its 30,000 faces are held out, as many as in the paper.
    config.data.update(name="celeb_a_hq/256", train_split="train[:27000]", test_split="train[27000:]", flip=True)
    config.model.update(levels=6, depth=32, width=512, coupling="additive", n_bits=5, memory="remat", init_images=64)
    glow_training(config, batch=40)
    config.train.steps = 1_000_000
    return variant(config, mode)
