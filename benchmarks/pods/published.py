"""The published configurations of 100 million parameters and more: for which slices, and with which flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_SHARDED = {"mesh.fsdp": 16}
_V5E, _V6E, _V5P = "v5e:4x4", "v6e:4x4", "v5p:2x2x4"


@dataclass(frozen=True)
class Row:
    """A configuration with flags, on a slice; its train step and its sampler are a program each."""

    config: str  # such as adm/imagenet256
    settings: Mapping[str, Any] = field(default_factory=dict)  # values of --config.KEY
    topology: str = _V5E

    def programs(self) -> Iterator[Program]:
        """The train step, and what draws with the same parameters on the same mesh; CLIP draws nothing."""
        yield Program("train", self.config, self.settings, self.topology)
        if self.config not in _GUIDES:
            training = {key for key in self.settings if key.startswith(("train.", "data.")) and key != "train.batch"}
            settings = {key: value for key, value in self.settings.items() if key not in training}
            yield Program("sampler", self.config, settings, self.topology)


@dataclass(frozen=True)
class Program:
    """One of them."""

    kind: str  # train | sampler
    config: str
    settings: Mapping[str, Any]
    topology: str

    @property
    def file(self) -> str:
        """Where its figures are kept, below the folder of all of them."""
        flags = [f"{key.rpartition('.')[2]}{value}" for key, value in sorted(self.settings.items())]
        name = "-".join([self.config.replace("/", "-"), *flags, self.kind])
        return f"{self.topology.replace(':', '-')}/{name}.json"


_GUIDES = ("glide/clip64",)
# In the order in which they are compiled. Batches are the configurations' own where sixteen chips can share them.
ROWS = (
    Row("adm/imagenet256", _SHARDED),
    Row("adm/imagenet256", {**_SHARDED, "train.accumulate": 2}),
    Row("adm/imagenet256", {**_SHARDED, "train.accumulate": 4}),
    Row("adm/imagenet64", _SHARDED),
    Row("glide/base64", _SHARDED),
    Row("glide/upsample64_256", {**_SHARDED, "train.accumulate": 2}),
    Row("glow/imagenet64"),
    Row("glow/celebahq256", {"train.batch": 48}),
    Row("adm/imagenet256", {**_SHARDED, "train.accumulate": 16, "model.network.channels": 704}),  # 4.18B
    Row("sd/v1_5", {**_SHARDED, "train.accumulate": 16, "data.latents": "prepared"}),
    *(
        Row(config, settings, topology)
        for topology in (_V6E, _V5P)
        for config, settings in (
            ("adm/imagenet256", _SHARDED),
            ("adm/imagenet64", _SHARDED),
            ("glide/base64", _SHARDED),
            ("glide/upsample64_256", _SHARDED),
            ("glow/celebahq256", {"train.batch": 48}),
        )
    ),
    Row("adm/imagenet128", _SHARDED),
    Row("adm/imagenet512", {**_SHARDED, "train.accumulate": 2}),
    Row("adm/lsun256", _SHARDED),
    Row("adm/64_256", _SHARDED),
    Row("adm/128_512", {**_SHARDED, "train.accumulate": 4}),
    Row("glide/inpaint64", _SHARDED),
    Row("glide/inpaint64_256", {**_SHARDED, "train.accumulate": 2}),
    Row("glide/clip64"),
    Row("iddpm/imagenet64"),
    Row("ddpm/lsun256"),
    Row("ddpm/celebahq256"),
    Row("realnvp/imagenet64"),
    Row("realnvp/lsun64"),
    Row("realnvp/celeba64"),
    Row("nice/cifar10", {"train.batch": 208}),
    Row("sd/v2_1_v", {**_SHARDED, "train.accumulate": 16, "data.latents": "prepared"}),
    Row("ldm/imagenet256", {**_SHARDED, "train.batch": 1_200, "train.accumulate": 5}),
    *(Row(f"ldm/{name}256", {"train.batch": 96}) for name in ("celebahq", "ffhq", "lsun_bedrooms", "lsun_churches")),
    Row("autoencoder/kl_f32", {"model.perceptual_weight": 0}),  # LPIPS is the user's
    Row("adm/imagenet256"),  # what sharding is for
)


def published() -> list[Program]:
    """All programs, each once."""
    return list({program.file: program for row in ROWS for program in row.programs()}.values())
