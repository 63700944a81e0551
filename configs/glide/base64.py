"""GLIDE at 64x64, text to image: the published base model (Nichol et al., 2021; the filtered release).

385.0M parameters, 76.7M of which read captions. 100 steps, classifier-free guidance at scale 3. The paper's model of
3.5 billion parameters, which was not released, saw batches of 2,048 for 2.5M steps; with its upsampler its zero-shot
FID on MS-COCO is 12.24.

Its images never were published: name a folder of captioned ones, `--config.data.path=FOLDER`, with a `metadata.csv` or
a `.txt` beside each image.

Fits v5e-16 with `--config.mesh.fsdp=16`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import glide_model, glide_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", text="glide")
    config.data.update(name="folder", path="captioned_images", size=64)
    glide_model(config)
    config.model.network.res_blocks = 3
    glide_training(config, steps=2_500_000, batch=2048)
    return variant(config, mode)
