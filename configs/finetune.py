"""Fine-tunes the model of a workdir on a folder of your own pictures: `--config=configs/finetune.py:WORKDIR`.

`python train.py --config=configs/finetune.py:runs/glide_openmoji32 --config.data.path=my_pictures --workdir=runs/mine`

Ten pictures are enough to begin with. Models that read captions find them in a .txt file beside each picture, or in
metadata.csv (columns file_name and text). The model, its tokenizer and its way of sampling are those of the workdir.
"""

from glowdiff.catalog.parse import Settings, settings_of
from glowdiff.config.sections import DataConfig, MeshConfig
from glowdiff.errors import ConfigError
from glowdiff.workdir import description as workdir


def get_config(mode: str = "") -> Settings:
    if not mode:
        raise ConfigError("configs/finetune.py takes the workdir to start from: --config=configs/finetune.py:WORKDIR.")
    found, spec = workdir.read(mode)
    config = settings_of(found)
    config.data.update(vars(DataConfig(name="folder", size=spec.shape[0])))
    config.mesh.update(vars(MeshConfig()))  # the devices are others
    config.train.update(steps=300, batch=4, accumulate=1, ema_decay=0.98, checkpoint_every=100, log_every=20)
    config.train.init_from = mode
    for name in found.model.frozen():  # models that serve this one, of which the workdir has copies
        copy = f"{mode}/parts/{name}"
        if hasattr(config.model[name], "workdir"):
            config.model[name].workdir = copy
        else:
            config.model[name] = copy
    config.optimizer.update(learning_rate=min(config.optimizer.learning_rate, 1e-4), warmup_steps=10, decay="constant")
    config.optimizer.decay_steps = None
    config.eval.update(every=100)
    config.pictures.update(every=100, images=16)
    return config
