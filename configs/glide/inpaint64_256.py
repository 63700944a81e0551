"""GLIDE's inpainting upsampler from 64x64 to 256x256: as published (Nichol et al., 2021; the filtered release).

398.4M parameters. The upsampler with four more input channels, known pixels at the large size and their mask:
`--config.train.init_from=WORKDIR` of configs/glide/upsample64_256.py, whose weights it starts from, the new channels at
zero. The paper does not say for how long. 27 ancestral steps without guidance, from noise of deviation 0.997.

Its images never were published: name a folder of captioned ones, `--config.data.path=FOLDER`, with a `metadata.csv` or
a `.txt` beside each image.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import glide_model, glide_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", text="glide")
    config.data.update(name="folder", path="captioned_images", size=256)
    glide_model(config, schedule="linear")
    config.model.network.res_blocks = 2
    config.model.update(low_res=64, inpaint=True)
    glide_training(config, steps=500_000, batch=512)
    return variant(config, mode)
