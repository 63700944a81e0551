"""A network of `diffusers` (PyTorch) at the work that ours is measured at: training, a step of DDIM, samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]


class DiffusersPeer:
    """Training as ours does it (mean squared error of the noise, AdamW, an average of the weights), and DDIM.

    Arrays come in and go out as everywhere here, [B, H, W, C]; between, tensors are [B, C, H, W].
    """

    def __init__(
        self,
        model: Any,
        scheduler: Any,
        x_0: np.ndarray,
        told: Mapping[str, np.ndarray],
        *,
        dtype: str,
        learning_rate: float,
        decay: float,
        channels_last: bool,
        compiled: bool,
        guidance: tuple[float, Mapping[str, np.ndarray]] | None = None,
        clipped: bool = True,
    ) -> None:
        """Of a model that others may hold too: its weights are copied.

        Args:
          model: of diffusers.
          scheduler: its `DDIMScheduler`, with its timesteps set.
          x_0: float32 [B, H, W, C], what it is trained on.
          told: what it is told beside, arrays [B, ...] by the names of its arguments.
          dtype: of the arithmetic: float32; or bfloat16, with autocast in training and weights cast in sampling.
          learning_rate: of AdamW.
          decay: of the average of the weights.
          channels_last: how PyTorch lays out images and kernels.
          compiled: with `torch.compile`.
          guidance: classifier-free, in sampling: its scale, and what is told in place of `told`; on a doubled batch.
          clipped: predictions of the data are clipped to [-1, 1], and samples are pixels.
        """
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._dtype = getattr(torch, dtype)
        self._decay, self._steps, self._clipped = decay, 0, clipped
        self._x_0 = self._tensor(x_0).contiguous(memory_format=self._layout)
        self._told = self._tensors(told)
        self._scale = guidance[0] if guidance else None
        self._both = self._told
        if guidance:
            free = self._tensors(guidance[1])
            self._both = {name: torch.cat([free[name], value]) for name, value in self._told.items()}
        self._training, self._sampling = self._copy(model, torch.float32), self._copy(model, self._dtype)
        self._parameters = list(self._training.parameters())
        self._average = [parameter.detach().clone() for parameter in self._parameters]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=learning_rate, weight_decay=0.0, fused=True)
        self._ddim = scheduler
        self._alpha_bars = scheduler.alphas_cumprod.to(self._device)
        self._train_net = torch.compile(self._training) if compiled else self._training
        self._sample_net = torch.compile(self._sampling) if compiled else self._sampling

    def train(self, steps: int) -> None:
        """So many optimiser steps."""
        for _ in range(steps):
            t = torch.randint(0, 1000, (len(self._x_0),), device=self._device)
            self._optimizer.zero_grad()
            self._loss(t, torch.randn_like(self._x_0)).backward()
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
        x = torch.randn_like(self._x_0)
        for _ in range(steps):
            self._step(x, self._ddim.timesteps[len(self._ddim.timesteps) // 2])
        self._wait()

    @torch.no_grad()
    def sample(self, times: int) -> None:
        """So many batches of samples, by all steps, into the host's memory."""
        for _ in range(times):
            x = self._walk(torch.randn_like(self._x_0))
            if self._clipped:
                x = ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            x.permute(0, 2, 3, 1).cpu().numpy()

    @torch.no_grad()
    def output(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        """What the network makes of x [B, H, W, C] at timesteps t [B]."""
        return self._array(self._net(self._tensor(x), torch.from_numpy(np.array(t)).to(self._device), self._told))

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
        copy = type(model).from_config(model.config)
        copy.load_state_dict(model.state_dict())
        copy.to(self._device, memory_format=self._layout)
        return copy if dtype == torch.float32 else copy.to(dtype)

    def _loss(self, t: Any, noise: Any) -> Any:
        alpha_bar = self._alpha_bars[t][:, None, None, None]
        x_t = alpha_bar.sqrt() * self._x_0 + (1 - alpha_bar).sqrt() * noise
        with torch.autocast(self._device, self._dtype, enabled=self._dtype != torch.float32):
            eps = self._train_net(x_t, t, **self._told, return_dict=False)[0]
        return torch.nn.functional.mse_loss(eps.float(), noise)

    def _walk(self, x: Any) -> Any:
        for t in self._ddim.timesteps:
            x = self._step(x, t)
        return x

    def _step(self, x: Any, t: Any) -> Any:
        t = t.to(self._device)
        if self._scale is None:
            eps = self._net(x, t, self._both)
        else:
            free, eps = self._net(torch.cat([x, x]), t, self._both).chunk(2)
            eps = free + self._scale * (eps - free)
        return self._ddim.step(eps, t, x, eta=0.0, use_clipped_model_output=self._clipped).prev_sample

    def _net(self, x: Any, t: Any, told: Mapping[str, Any]) -> Any:
        told = {name: value.to(self._dtype) if value.is_floating_point() else value for name, value in told.items()}
        return self._sample_net(x.to(self._dtype), t, **told, return_dict=False)[0].float()

    def _tensors(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {name: torch.from_numpy(np.array(value)).to(self._device) for name, value in arrays.items()}

    def _tensor(self, array: np.ndarray) -> Any:
        return torch.from_numpy(np.array(array, np.float32)).permute(0, 3, 1, 2).to(self._device)

    def _array(self, tensor: Any) -> np.ndarray:
        return tensor.permute(0, 2, 3, 1).cpu().numpy()

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()
