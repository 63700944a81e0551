"""Settings that the configurations of one paper share."""

from __future__ import annotations

from glowdiff.catalog.parse import Settings

EPOCH = 50_000  # images that Glow's code calls an epoch, whatever the data set


def glow_training(config: Settings, batch: int) -> None:
    """The optimiser of Glow's experiments (Kingma & Dhariwal, 2018, appendix B and code).

    Adamax at 1e-3 after ten epochs of linear warm-up, its second moment averaged over an epoch; no clipping. Weights
    are averaged over an epoch, the temperature of samples is 0.7, and coupling nets compute in bfloat16.

    Args:
      config: is changed.
      batch: global batch; all else follows from it.
    """
    steps_per_epoch = EPOCH // batch
    decay = 1 - 1 / steps_per_epoch
    config.train.update(batch=batch, ema_decay=decay, log_every=500, checkpoint_every=10_000)
    config.optimizer.update(name="adamax", learning_rate=1e-3, warmup_steps=10 * steps_per_epoch, b2=decay)
    config.eval.every = config.pictures.every = 10_000
    config.sampling.temperature = 0.7
    config.dtype = "bfloat16"


def realnvp_training(config: Settings, steps: int) -> None:
    """The training of RealNVP's experiments (Dinh et al., 2017, section 4.1): Adam at 1e-3, batches of 64.

    Gradients are clipped to a norm of 100, and weights are not averaged, as `defaults("realnvp")` has it already.

    Args:
      config: is changed.
      steps: how long; the paper does not say.
    """
    config.train.update(steps=steps, batch=64, log_every=500, checkpoint_every=10_000)
    config.optimizer.update(name="adam", learning_rate=1e-3)
    config.eval.every = config.pictures.every = 10_000
    config.dtype = "bfloat16"


def nice_training(config: Settings, steps: int) -> None:
    """The training of NICE's experiments (Dinh et al., 2014, section 5.1): Adam at 1e-3 with a short second moment.

    Args:
      config: is changed.
      steps: how long.
    """
    config.train.update(steps=steps, batch=200, log_every=500, checkpoint_every=10_000)
    config.optimizer.update(name="adam", learning_rate=1e-3, b2=0.99, eps=1e-4)
    config.eval.every = config.pictures.every = 10_000


def ddpm_model(config: Settings) -> None:
    """DDPM's UNet (Ho et al., 2020, appendix B), a special case of ADM's: one head at 16x16, embeddings are added.

    Args:
      config: is changed.
    """
    config.model.process.schedule = "linear"
    config.model.network.update(attention="16", heads=1, adagn=False, updown=False)


def ddpm_training(config: Settings, steps: int, batch: int, learning_rate: float) -> None:
    """The training of DDPM's experiments (Ho et al., 2020, appendix B): Adam, warm-up, clipping, a long average.

    Args:
      config: is changed.
      steps: how long.
      batch: global batch.
      learning_rate: after 5,000 steps of warm-up.
    """
    config.train.update(steps=steps, batch=batch, ema_decay=0.9999, clip=1.0, log_every=500, checkpoint_every=10_000)
    config.optimizer.update(name="adam", learning_rate=learning_rate, warmup_steps=5_000)
    config.sampling.update(sampler="ancestral", steps="1000")
    _accelerated(config)


def iddpm_model(config: Settings) -> None:
    """Improved DDPM's process and UNet (Nichol & Dhariwal, 2021): 4,000 cosine steps, learned variances, hybrid loss.

    Args:
      config: is changed.
    """
    config.model.process.update(schedule="cosine", timesteps=4000, rescale_timesteps=True, variance="learned")
    config.model.network.update(attention="16,8", heads=4, adagn=True, updown=False)
    config.model.loss = "hybrid"


def adm_model(config: Settings, schedule: str = "linear") -> None:
    """ADM's process and UNet (Dhariwal & Nichol, 2021, section 3): learned variances, AdaGN, up/down residual blocks.

    Args:
      config: is changed.
      schedule: of noise; cosine at 64x64, else linear.
    """
    config.model.process.update(schedule=schedule, timesteps=1000, variance="learned")
    config.model.network.update(attention="32,16,8", head_channels=64, adagn=True, updown=True, remat=True)
    config.model.loss = "hybrid"


def adm_training(config: Settings, steps: int, batch: int = 256, learning_rate: float = 1e-4) -> None:
    """The training of Improved DDPM's and ADM's experiments: AdamW without decay, an average over 10,000 steps.

    Args:
      config: is changed.
      steps: how long.
      batch: global batch.
      learning_rate: constant.
    """
    config.train.update(steps=steps, batch=batch, ema_decay=0.9999, log_every=500, checkpoint_every=10_000)
    config.optimizer.update(name="adamw", learning_rate=learning_rate)
    config.sampling.update(sampler="ancestral", steps="250")
    _accelerated(config)


def glide_model(config: Settings, schedule: str = "squaredcos_cap_v2") -> None:
    """The process, UNet and text transformer of the published GLIDE (Nichol et al., 2021; the filtered release).

    Args:
      config: is changed.
      schedule: of noise; linear for the upsampler.
    """
    adm_model(config, schedule)
    config.model.network.update(channels=192, dropout=0.1)
    config.model.text.update(tokenizer="gpt2", vocab_size=50_257, context=128, width=512, layers=16, heads=8)


def glide_training(config: Settings, steps: int, batch: int) -> None:
    """The training of GLIDE's experiments, where the paper says nothing that of ADM's; sampling as in its release.

    What enlarges is not guided, and starts from slightly less noise. What draws has 20% of its captions withheld, which
    the original does in a fine-tune at the end.

    Args:
      config: is changed; `model.low_res` and `model.inpaint` must be set before.
      steps: how long.
      batch: global batch.
    """
    adm_training(config, steps, batch)
    inpaint, sampling = config.model.inpaint, config.sampling
    if config.model.low_res is not None:
        sampling.update(sampler="ancestral" if inpaint else "ddim", steps="fast27", temperature=0.997)
    else:
        config.model.caption_dropout = 0.2
        sampling.update(sampler="ancestral", steps="100", guidance_scale=5.0 if inpaint else 3.0)


def classifier_training(config: Settings, steps: int, batch: int = 256, learning_rate: float = 3e-4) -> None:
    """The training of ADM's classifiers (Dhariwal & Nichol, 2021): AdamW with decay 0.05, the rate falls to 0.

    Args:
      config: is changed.
      steps: how long.
      batch: global batch.
      learning_rate: at first.
    """
    config.train.update(steps=steps, batch=batch, log_every=500, checkpoint_every=10_000)
    config.optimizer.update(name="adamw", learning_rate=learning_rate, decay="linear", weight_decay=0.05)
    _accelerated(config)


def clip_training(config: Settings, batch: int) -> None:
    """The training of CLIP's ViT-Bs (Radford et al., 2021, tables 18 and 20), but for the batch of 32,768.

    Args:
      config: is changed.
      batch: global batch, in which each image is compared with all captions.
    """
    config.train.update(steps=390_000, batch=batch, log_every=500, checkpoint_every=10_000)
    config.optimizer.update(
        name="adamw", learning_rate=5e-4, warmup_steps=2_000, decay="cosine", weight_decay=0.2, b2=0.98, eps=1e-6
    )
    _accelerated(config)


def autoencoder_training(config: Settings, *, start: int, weight: float, scale: float | None = None) -> None:
    """The training of latent diffusion's first stages (Rombach et al., 2022, appendix G, and code) on 256x256 crops.

    LPIPS and a discriminator of patches beside the pixels; Adam with the moments of GANs, at 4.5e-6 times the batch.
    The paper does not say how long.

    Args:
      config: is changed.
      start: steps before the discriminator begins.
      weight: of its adaptive weight.
      scale: of the latents; None: measured.
    """
    batch = 64
    config.data.update(name="folder", path="images", size=256, flip=True)
    config.model.update(
        perceptual_weight=1.0, discriminator_weight=weight, discriminator_start=start, scale=scale,
    )  # fmt: skip
    config.train.update(steps=500_000, batch=batch, log_every=500, checkpoint_every=10_000)
    config.optimizer.update(name="adam", learning_rate=4.5e-6 * batch, b1=0.5, b2=0.9)
    config.eval.update(every=10_000, images=2_048)
    config.pictures.update(every=10_000, images=16)


def _accelerated(config: Settings) -> None:
    config.eval.update(every=10_000, images=2_048)
    config.pictures.every = 10_000
    config.dtype = "bfloat16"


def latent_model(config: Settings, start: float = 0.0015, end: float = 0.0195) -> None:
    """The process of latent diffusion (Rombach et al., 2022): betas linear in their square root, nothing thresholded.

    Args:
      config: is changed; its codec is an autoencoder.
      start: the first beta; the default is that of the unconditional and class-conditional models.
      end: the last one.
    """
    config.model.process.update(schedule="scaled_linear", timesteps=1000, beta_start=start, beta_end=end)
    config.sampling.threshold = "none"


def latent_training(config: Settings, steps: int, batch: int, learning_rate: float) -> None:
    """The training of latent diffusion's experiments: AdamW, a long average; samples by DDIM.

    The original decays all weights by PyTorch's default, here kernels alone are.

    Args:
      config: is changed.
      steps: how long.
      batch: global batch.
      learning_rate: constant; the original's is a base rate times the global batch.
    """
    config.train.update(steps=steps, batch=batch, ema_decay=0.9999, log_every=500, checkpoint_every=10_000)
    config.optimizer.update(name="adamw", learning_rate=learning_rate, weight_decay=0.01)
    config.sampling.update(sampler="ddim", steps="200", spacing="leading", final="first")
    _accelerated(config)


def ldm_256(config: Settings, steps: int, batch: int) -> None:
    """Latent diffusion's unconditional models of 256x256 pixels, in latents of VQ-f4 (Rombach et al., 2022, table 12).

    Args:
      config: is changed.
      steps: how long.
      batch: global batch; the learning rate is 2e-6 times as much.
    """
    config.model.codec.workdir = "runs/vq_f4"
    latent_model(config)
    config.model.network.update(
        channels=224, channel_mult="1,2,3,4", attention="32,16,8", head_channels=32, adagn=False, updown=False,
        remat=True,
    )  # fmt: skip
    latent_training(config, steps, batch, learning_rate=2e-6 * batch)


def stable_diffusion_training(config: Settings, steps: int, batch: int = 2048) -> None:
    """The training of Stable Diffusion: AdamW at 1e-4 after a warm-up, a tenth of the captions withheld.

    Args:
      config: is changed; `model.process` must be set before.
      steps: how long.
      batch: global batch.
    """
    latent_training(config, steps, batch, learning_rate=1e-4)
    config.optimizer.warmup_steps = 10_000
    config.model.caption_dropout = 0.1
    sampler, scale = ("ddim", 9.0) if config.model.process.prediction == "v" else ("plms", 7.5)
    config.sampling.update(sampler=sampler, steps="50", guidance_scale=scale)
