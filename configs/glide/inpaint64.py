"""GLIDE's inpainting at 64x64: as published (Nichol et al., 2021; the filtered release).

385.0M parameters. The base model with four more input channels, known pixels and their mask, fine-tuned on images of
which random regions are erased: `--config.train.init_from=WORKDIR` of configs/glide/base64.py, whose weights it starts
from, the new channels at zero. The paper does not say for how long. 100 steps, guidance at scale 5.

Its images never were published: name a folder of captioned ones, `--config.data.path=FOLDER`, with a `metadata.csv` or
a `.txt` beside each image.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import glide_model, glide_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", text="glide")
    config.data.update(name="folder", path="captioned_images", size=64)
    glide_model(config)
    config.model.network.res_blocks = 3
    config.model.inpaint = True
    glide_training(config, steps=500_000, batch=2048)
    return variant(config, mode)
