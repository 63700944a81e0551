"""Which flags of sample.py go together."""

from __future__ import annotations

from glowdiff.errors import require

_NEEDS = {
    "classifier_scale": "classifier", "clip_scale": "clip", "frames": "film", "upsampler_temperature": "upsampler",
    "upsampler_sampler": "upsampler", "upsampler_steps": "upsampler", "upsampler_spacing": "upsampler",
}  # fmt: skip


def check_flags(given: set[str], out: str, film: str | None) -> None:
    """Raise `ConfigError` for flags that contradict each other, or mean nothing without another one.

    Args:
      given: names of the flags.
      out: the value of --out.
      film: the value of --film.
    """
    require(out.endswith((".png", ".npz")), f"--out is {out}; it must end in .png or .npz.")
    require(film is None or film.endswith(".gif"), f"--film is {film}; it must end in .gif.")
    for name, other in _NEEDS.items():
        require(name not in given or other in given, f"--{name} is given, but no --{other}.")
    require(
        "clip" not in given or bool(given & {"prompt", "prompts"}),
        "--clip is given, but no --prompt towards which it could guide.",
    )
    for name, why in (("low_res", "it enlarges what --workdir draws"), ("film", "a cascade draws no films")):
        require(not {name, "upsampler"} <= given, f"--upsampler is given, and --{name}: {why}; leave one of them out.")
