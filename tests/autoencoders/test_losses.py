"""What trains autoencoders computes what the originals compute: LPIPS, the discriminator, the adaptive weight."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff import importers
from glowdiff.autoencoders.build import discriminator
from glowdiff.autoencoders.losses import ADVERSARIAL, Opinion, opinion, reconstruction
from glowdiff.importers.mapping import conv
from glowdiff.networks.bottleneck import gaussian, kl_to_normal
from glowdiff.networks.discriminator import PatchDiscriminator
from tests.importers.golden import FOLDER, random_weight


class Golden:
    """The golden file: arrays with channels last, and weights."""

    def __init__(self) -> None:
        with np.load(FOLDER / "latent/ldm_autoencoder_loss.npz", allow_pickle=False) as file:
            arrays = dict(file)
        spec = json.loads(str(arrays.pop("spec")))
        self.arrays, self.config = arrays, spec["config"]
        self.weights = {
            part: {key: _weight(key, tuple(shape)) for key, shape in shapes.items()}
            for part, shapes in spec["manifest"].items()
        }

    def __getitem__(self, name: str) -> Any:
        array = self.arrays[name]
        if name == "in_last_layer" or name.startswith("out_grad"):
            return conv(array)
        return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def _weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    weight = random_weight(key, shape)
    if key.endswith("running_var"):
        return weight**2 + 1
    if key.startswith("lpips.lin"):
        return abs(weight)
    return weight + np.float32(len(shape) == 1 and key.endswith(".weight"))


golden = cache(Golden)


def critic() -> tuple[PatchDiscriminator, Any, Any]:
    """The golden discriminator, its parameters and its statistics."""
    weights = golden().weights["discriminator"]
    params: dict[str, Any] = {}
    statistics: dict[str, Any] = {}
    numbers = {int(key.split(".")[1]) for key in weights}
    normalised = sorted(number for number in numbers if f"main.{number}.running_var" in weights)
    for layer, number in enumerate(sorted(numbers - {*normalised})):
        names = {"kernel": "weight", "bias": "bias"}
        found = {ours: weights.get(f"main.{number}.{theirs}") for ours, theirs in names.items()}
        params[f"conv_{layer}"] = {ours: array for ours, array in found.items() if array is not None}
        params[f"conv_{layer}"]["kernel"] = conv(params[f"conv_{layer}"]["kernel"])
    for layer, number in enumerate(normalised, 1):
        start = f"main.{number}"
        params[f"norm_{layer}"] = {"scale": weights[f"{start}.weight"], "bias": weights[f"{start}.bias"]}
        statistics[f"norm_{layer}"] = {
            "mean": weights[f"{start}.running_mean"], "var": weights[f"{start}.running_var"],
        }  # fmt: skip
    channels = params["conv_0"]["kernel"].shape[-1]
    return PatchDiscriminator(channels, golden().config["disc_num_layers"]), params, statistics


def close(found: Any, name: str) -> None:
    np.testing.assert_allclose(found, golden()[name], rtol=1e-4, err_msg=name)


def test_the_discriminator():
    module, params, statistics = critic()
    judge = jax.jit(discriminator(module).judge)
    with jax.default_matmul_precision("highest"):
        plain = jax.jit(lambda x: module.apply({"params": params, "batch_stats": statistics}, x, False))
        close(plain(golden()["in_x"])[..., None], "out_disc_eval")
        logits, moved = judge(params, statistics, golden()["in_x"])
    close(logits[..., None], "out_disc_train")
    real, made = golden()["in_logits_real"], golden()["in_logits_fake"]
    for name, loss in ADVERSARIAL.items():
        close(loss(real, made), f"out_{name}")
    # Its statistics have moved, a tenth of the way.
    before, after = statistics["norm_1"]["mean"], moved["norm_1"]["mean"]
    assert (np.abs(after - before) > 0).all()


def test_the_generator_before_and_after_the_discriminator_begins():
    """One program for both, with the gradient at the decoder's last layer."""
    config, x, base = golden().config, golden()["in_x"], golden()["in_base"]
    weights = golden().weights["lpips"]
    eyes, variables = importers.lpips(weights, weights)
    module, params, statistics = critic()
    judge, hinge = discriminator(module).judge, ADVERSARIAL["hinge"]

    def image(kernel):
        axes = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(base, kernel, (1, 1), "VALID", dimension_numbers=axes)

    def loss(kernel, factor, variables):
        made = image(kernel)

        def error(made):
            looks = config["perceptual_weight"] * eyes.apply(variables, x, made, method="distance")
            return reconstruction(jnp.abs(x - made), looks, summed=True)

        heard = opinion(
            made,
            lambda gradient: jax.vjp(image, kernel)[1](gradient)[0],
            error,
            lambda made: judge(params, statistics, made)[0],
            config["disc_weight"],
            factor,
        )
        nats = kl_to_normal(*gaussian(jnp.asarray(golden()["in_moments"]))).mean()
        discriminating = factor * hinge(judge(params, statistics, x)[0], judge(params, statistics, made)[0])
        looks = eyes.apply(variables, x, golden()["in_y"], method="distance")
        return heard.total + config["kl_weight"] * nats, (heard, nats, jax.lax.stop_gradient(discriminating), looks)

    with jax.default_matmul_precision("highest"):
        run = jax.jit(jax.value_and_grad(loss, has_aux=True))
        for when, factor in (("before", 0.0), ("after", 1.0)):
            (total, (heard, nats, discriminating, looks)), gradient = run(golden()["in_last_layer"], factor, variables)
            assert isinstance(heard, Opinion)
            for name, value in {
                "loss": total, "grad": gradient, "nll": heard.error, "g_loss": heard.adversarial,
                "d_weight": heard.weight, "d_loss": discriminating, "kl": nats,
            }.items():  # fmt: skip
                close(value, f"out_{name}_{when}")
            close(looks, "out_lpips")


def test_files_of_lpips_by_other_names():
    """A first stage's file holds all behind a prefix; torchvision's and LPIPS's own are two."""
    weights = golden().weights["lpips"]
    first_stage = {f"loss.perceptual_loss.{key.removeprefix('lpips.')}": array for key, array in weights.items()}
    numbers = {key: key.split(".")[-2] for key in weights if ".net." in key}
    vgg = {f"features.{number}.{key.split('.')[-1]}": weights[key] for key, number in numbers.items()}
    linear = {key.removeprefix("lpips."): array for key, array in weights.items() if key not in numbers}
    _, expected = importers.lpips(weights, weights)
    for files in ((first_stage, first_stage), ({**vgg, "classifier.0.bias": np.zeros(3, np.float32)}, linear)):
        _, found = importers.lpips(*files)
        jax.tree.map(np.testing.assert_array_equal, found, expected)
