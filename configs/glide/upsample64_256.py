"""GLIDE's upsampler from 64x64 to 256x256: as published (Nichol et al., 2021; the filtered release).

398.4M parameters, 76.7M of which read captions. 27 steps of DDIM without guidance, from noise of deviation 0.997. The
paper's, of 1.5 billion parameters, saw batches of 512 for 1.6M steps.

Its images never were published: name a folder of captioned ones, `--config.data.path=FOLDER`, with a `metadata.csv` or
a `.txt` beside each image.

Fits v5e-16 with `--config.mesh.fsdp=16 --config.train.accumulate=2`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import glide_model, glide_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", text="glide")
    config.data.update(name="folder", path="captioned_images", size=256)
    glide_model(config, schedule="linear")
    config.model.network.res_blocks = 2
    config.model.low_res = 64
    glide_training(config, steps=1_600_000, batch=512)
    return variant(config, mode)
