"""The UNet of `diffusers` (PyTorch), set up to be the same function as ours, with the same training and sampling."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from diffusers import DDIMScheduler, UNet2DModel  # pyright: ignore[reportMissingImports]

from glowdiff.networks.unet import UNet

_RESIDUAL = {
    "norm_in": "norm1", "conv_in": "conv1", "embed": "time_emb_proj", "norm_out": "norm2", "conv_out": "conv2",
    "skip": "conv_shortcut",
}  # fmt: skip
_ATTENTION = {"norm": "group_norm", "proj_out": "to_out.0"}
_ENDS = {
    "time_embed.dense_0": "time_embedding.linear_1",
    "time_embed.dense_1": "time_embedding.linear_2",
    "label_embed": "class_embedding",
    "input_blocks_0": "conv_in",
    "norm_out": "conv_norm_out",
    "conv_out": "conv_out",
}
_MIDDLE = {"res_0": "resnets.0", "attention": "attentions.0", "res_1": "resnets.1"}
_PLACE = {"res": "resnets.{}", "attention": "attentions.{}", "down": "downsamplers.0", "up": "upsamplers.0"}


def build(net: UNet, heads_of: int, channels: int) -> Any:
    """A `UNet2DModel` of the shape of ours.

    Args:
      net: ours, with AdaGN and without low-resolution images, which the peer does not know.
      heads_of: channels of each attention head.
      channels: of the images.
    """
    plain_down, plain_up = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D")
    if not net.updown:
        plain_down, plain_up = ("DownBlock2D", "UpBlock2D")
    resample = "resnet" if net.updown else "conv"
    levels = net.levels
    return UNet2DModel(
        sample_size=net.image_size,
        in_channels=channels,
        out_channels=net.out_channels,
        block_out_channels=tuple(level.channels for level in levels),
        layers_per_block=net.res_blocks,
        down_block_types=tuple("AttnDownBlock2D" if level.attention else plain_down for level in levels),
        up_block_types=tuple("AttnUpBlock2D" if level.attention else plain_up for level in reversed(levels)),
        downsample_type=resample,
        upsample_type=resample,
        attention_head_dim=heads_of,
        attn_norm_num_groups=32,  # else AdaGN switches the norm of the middle's attention off
        resnet_time_scale_shift="scale_shift",
        num_class_embeds=net.classes or None,
    )


def weights(net: UNet, params: Mapping[str, Any]) -> dict[str, Any]:
    """Our parameters under the peer's names and in its layouts.

    Raises:
      KeyError: one of ours has no counterpart.
    """
    found: dict[str, Any] = {}
    for path, array in _leaves(params):
        *layers, leaf = path
        key = _key(net, ".".join(layers))
        if layers[-1] == "qkv":
            for name, part in zip(("to_q", "to_k", "to_v"), _parts(net, array), strict=True):
                found[f"{key.replace('qkv', name)}.{_leaf(leaf)}"] = _layout(part)
        else:
            array = _layout(array) if leaf == "kernel" else array
            if layers[-1] == "skip" and leaf == "kernel":
                array = array[:, :, None, None]
            found[f"{key}.{_leaf(leaf)}"] = array
    return {key: torch.from_numpy(np.array(array, np.float32)) for key, array in found.items()}


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Any:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), np.asarray(value)


def _key(net: UNet, name: str) -> str:
    """The peer's name of one of our layers."""
    if name in _ENDS:
        return _ENDS[name]
    block, _, layer = name.partition(".")
    names = _ATTENTION if block.endswith("attention") else _RESIDUAL
    layer = names.get(layer, layer) or "conv"  # a bare convolution resamples
    if block.startswith("middle_"):
        return f"mid_block.{_MIDDLE[block.removeprefix('middle_')]}.{layer}"
    match = re.fullmatch(r"(input|output)_blocks_(\d+)_(\w+)", block)
    if match is None:
        raise KeyError(name)
    half, number, part = match[1], int(match[2]), match[3]
    # A level has res_blocks blocks and the one that halves on the way down, res_blocks + 1 blocks on the way up.
    level, place = divmod(number - (half == "input"), net.res_blocks + 1)
    return f"{'down' if half == 'input' else 'up'}_blocks.{level}.{_PLACE[part].format(place)}.{layer}"


def _leaf(name: str) -> str:
    return {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}[name]


def _parts(net: UNet, array: np.ndarray) -> np.ndarray:
    """Queries', keys' and values' share of a layer's output, heads one after the other: [..., 3C] -> [3, ..., C]."""
    channels = array.shape[-1] // 3
    heads = channels // net.head_channels if net.head_channels else net.heads
    shape, axis = ((3, heads, -1), -3) if net.new_order else ((heads, 3, -1), -2)
    split = np.moveaxis(array.reshape(*array.shape[:-1], *shape), axis, 0)
    return split.reshape(3, *array.shape[:-1], channels)


def _layout(kernel: np.ndarray) -> np.ndarray:
    """[..., in, out] -> [out, in, ...]; biases stay."""
    return np.moveaxis(kernel, (-1, -2), (0, 1)) if kernel.ndim > 1 else kernel


class DiffusersUNet:
    """Training as ours does it (mean squared error of the noise, AdamW, an average of the weights), and DDIM.

    Images come in and go out as everywhere here, uint8 [B, H, W, C]; between, tensors are [B, C, H, W].
    """

    def __init__(
        self,
        model: Any,
        images: np.ndarray,
        labels: np.ndarray | None,
        *,
        dtype: str,
        learning_rate: float,
        decay: float,
        channels_last: bool,
        compiled: bool,
    ) -> None:
        """Of a model that others may hold too: its weights are copied.

        Args:
          model: a `UNet2DModel`.
          images: uint8 [B, H, W, C], what it is trained on.
          labels: int [B], or None.
          dtype: of the arithmetic: float32; or bfloat16, with autocast in training and weights cast in sampling.
          learning_rate: of AdamW.
          decay: of the average of the weights.
          channels_last: how PyTorch lays out images and kernels.
          compiled: with `torch.compile`.
        """
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._dtype = getattr(torch, dtype)
        self._decay, self._steps = decay, 0
        self._images = torch.from_numpy(images).to(self._device)
        self._labels = None if labels is None else torch.from_numpy(labels).long().to(self._device)
        self._training, self._sampling = self._copy(model, torch.float32), self._copy(model, self._dtype)
        self._parameters = list(self._training.parameters())
        self._average = [parameter.detach().clone() for parameter in self._parameters]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=learning_rate, weight_decay=0.0, fused=True)
        # Ours: linear noise, every 20th timestep from 0 on, x_0 clipped and eps derived from it.
        self._ddim = DDIMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
        self._ddim.set_timesteps(50)
        self._alpha_bars = self._ddim.alphas_cumprod.to(self._device)
        self._train_net = torch.compile(self._training) if compiled else self._training
        self._sample_net = torch.compile(self._sampling) if compiled else self._sampling

    def train(self, steps: int) -> None:
        """So many optimiser steps."""
        batch = self._images.shape[0]
        for _ in range(steps):
            shape = (batch, self._images.shape[3], *self._images.shape[1:3])
            t = torch.randint(0, 1000, (batch,), device=self._device)
            self._optimizer.zero_grad()
            self._loss(t, torch.randn(shape, device=self._device)).backward()
            self._optimizer.step()
            self._steps += 1
            rate = (1 - self._decay) / (1 - self._decay**self._steps)  # as in glowdiff
            with torch.no_grad():
                torch._foreach_lerp_(self._average, self._parameters, rate)
        self._wait()

    def loss_and_norm(self, t: np.ndarray, noise: np.ndarray) -> tuple[float, float]:
        """The loss at timesteps t [B] with noise [B, H, W, C], and the norm of its gradient."""
        self._optimizer.zero_grad()
        loss = self._loss(torch.from_numpy(np.array(t)).long().to(self._device), self._tensor(noise))
        loss.backward()
        return loss.item(), torch.nn.utils.get_total_norm([p.grad for p in self._parameters]).item()

    @torch.no_grad()
    def denoise(self, steps: int) -> None:
        """So many single steps of DDIM at the same timestep."""
        x = self._noise()
        for _ in range(steps):
            self._step(x, self._ddim.timesteps[25])
        self._wait()

    @torch.no_grad()
    def sample(self, times: int) -> None:
        """So many batches of images, 50 steps each, into the host's memory."""
        for _ in range(times):
            x = self._walk(self._noise())
            ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    @torch.no_grad()
    def output(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        """What the network makes of x [B, H, W, C] at timesteps t [B]."""
        return self._array(self._eps(self._tensor(x), torch.from_numpy(np.array(t)).to(self._device)))

    @torch.no_grad()
    def samples_from(self, x: np.ndarray) -> np.ndarray:
        """What DDIM makes of noise x [B, H, W, C], before it is rounded to pixels."""
        return self._array(self._walk(self._tensor(x)))

    def convolutions(self) -> list[tuple[int, int, int, int, int]]:
        """The 3x3 convolutions of one pass: height and width of what goes in, channels in and out, stride."""
        seen: list[tuple[int, int, int, int, int]] = []

        def note(layer: Any, given: Any, result: Any) -> None:
            del result
            if layer.kernel_size == (3, 3):
                seen.append((*given[0].shape[2:], layer.in_channels, layer.out_channels, layer.stride[0]))

        layers = [layer for layer in self._sampling.modules() if isinstance(layer, torch.nn.Conv2d)]
        hooks = [layer.register_forward_hook(note) for layer in layers]
        self.denoise(1)
        for hook in hooks:
            hook.remove()
        return seen

    def _copy(self, model: Any, dtype: Any) -> Any:
        copy = UNet2DModel.from_config(model.config)
        copy.load_state_dict(model.state_dict())
        copy.to(self._device, memory_format=self._layout)
        return copy if dtype == torch.float32 else copy.to(dtype)

    def _loss(self, t: Any, noise: Any) -> Any:
        x_0 = (self._images.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=self._layout)
        alpha_bar = self._alpha_bars[t][:, None, None, None]
        x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise
        with torch.autocast(self._device, self._dtype, enabled=self._dtype != torch.float32):
            eps = self._train_net(x_t, t, class_labels=self._labels, return_dict=False)[0]
        return torch.nn.functional.mse_loss(eps.float(), noise)

    def _walk(self, x: Any) -> Any:
        for t in self._ddim.timesteps:
            x = self._step(x, t)
        return x

    def _step(self, x: Any, t: Any) -> Any:
        eps = self._eps(x, t.to(self._device))
        return self._ddim.step(eps, t, x, eta=0.0, use_clipped_model_output=True).prev_sample

    def _eps(self, x: Any, t: Any) -> Any:
        return self._sample_net(x.to(self._dtype), t, class_labels=self._labels, return_dict=False)[0].float()

    def _noise(self) -> Any:
        return torch.randn(self._images.permute(0, 3, 1, 2).shape, device=self._device)

    def _tensor(self, array: np.ndarray) -> Any:
        return torch.from_numpy(np.array(array, np.float32)).permute(0, 3, 1, 2).to(self._device)

    def _array(self, tensor: Any) -> np.ndarray:
        return tensor.permute(0, 2, 3, 1).cpu().numpy()

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()
