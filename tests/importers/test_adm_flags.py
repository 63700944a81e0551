"""Flags of the published ADM networks, in every form in which people have them."""

import json

import pytest

from glowdiff.errors import ConfigError
from glowdiff.importers import flags
from glowdiff.importers.adm import RELEASES, parse
from glowdiff.importers.glow import GLOW
from tests.importers.golden import load_torch, released

# As the upsampler from 64 to 256 pixels is documented.
DOCUMENTED = (
    "--attention_resolutions 32,16,8 --class_cond True --diffusion_steps 1000 --large_size 256  --small_size 64 "
    "--learn_sigma True --noise_schedule linear --num_channels 192 --num_heads 4 --num_res_blocks 2 "
    "--resblock_updown True --use_fp16 True --use_scale_shift_norm True --num_head_channels -1"
)


def read(text):
    return flags.read(text, RELEASES)


def test_every_form_says_the_same(tmp_path):
    values = read(DOCUMENTED)
    expected = parse(values)
    assert (expected.kind, expected.small_size) == ("superres", 64)
    pairs = ",".join(f"{name}={value}" for name, value in values.items())
    file = tmp_path / "flags.txt"
    file.write_text(DOCUMENTED)
    for text in (pairs, pairs.replace(",class", "\nclass"), json.dumps(values), str(file), "64_256_upsampler.pt"):
        assert parse(read(text)) == expected, text


@pytest.mark.parametrize("name", [name for name in released() if name in RELEASES])
def test_releases_have_the_network_of_their_manifest(name):
    ours, manifest = parse(read(name)), parse(released()[name]["flags"])
    # The manifests leave out what the shapes do not show.
    network = manifest.network | {"dropout": ours.network["dropout"]}
    assert ours == manifest._replace(network=network, process=ours.process)


def test_the_process_of_a_release():
    process = parse(read("64x64_diffusion")).process
    assert (process.diffusion_steps, process.noise_schedule, process.learn_sigma) == (1000, "cosine", True)
    assert not process.rescale_timesteps
    improved = parse(read("cifar10_uncond_50M_500K"))
    assert improved.process.rescale_timesteps
    assert improved.process.diffusion_steps == 4000
    assert improved.network["dropout"] == 0.3
    assert parse(read("lsun_horse_nodropout")).network["dropout"] == 0.0


def test_constructors_count_halvings_and_command_lines_pixels():
    golden = load_torch("adm_unet_updown")[1]
    sides = (golden["image_size"] // factor for factor in sorted(golden["attention_resolutions"]))
    assert parse(golden).network["attention"] == ",".join(map(str, sides))
    asked = parse({"image_size": 64, "attention_resolutions": "32,16,4"}).network
    assert asked["attention"] == "32,16"  # no level has images of 4 pixels; the original does not mind


def test_glows_command_line_leaves_values_out_and_its_log_has_several_lines(tmp_path):
    expected = GLOW.parse({"problem": "cifar10", "learntop": True, "depth": 4})
    (tmp_path / "train.txt").write_text('{"problem": "cifar10", "learntop": true, "depth": 4}\n{"epoch": 1}\n')
    for text in ("--problem cifar10 --learntop --depth=4", "problem=cifar10,learntop,depth=4", tmp_path / "train.txt"):
        assert GLOW.parse(flags.read(str(text), {})) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_chanels": 128}, "has num_chanels.*Did you mean num_channels"),
        ({"learn_sigma": "perhaps"}, "learn_sigma=perhaps; it must be of type bool"),
        ({"num_heads": "four"}, "num_heads=four; it must be of type int"),
        ({"image_size": 48}, "image_size=48, for which the originals have no channel_mult.*or give channel_mult"),
        ({"image_size": 48, "channel_mult": "1,a"}, "channel_mult=1,a; it must be numbers"),
        ({"attention_resolutions": "0"}, "attention_resolutions=0"),
        ({"classifier_width": 128, "num_channels": 128}, "a classifier .* and a diffusion model .*num_channels"),
        ({"classifier_pool": "mean"}, "classifier_pool is 'mean'; it must be one of adaptive"),
        ({"model": "VAE", "model_channels": 32}, "model is 'VAE'; it must be one of UNetModel"),
        ({"model_channels": 32}, "image_size=0; it must be there"),
        ({"num_channels": 48}, "cannot be: model.network.channels is 48"),
    ],
)
def test_wrong_flags_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        parse(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("64x64_difusion", "'64x64_difusion', which is no release; did you mean 64x64_diffusion"),
        ("nothing", "'nothing', which is no release; there are 64x64_diffusion, 128x128_diffusion"),
        ("--image_size 64 oops", "has 'oops', where --name value was expected"),
        ("{", "not JSON"),
        ("=3", "must be key=value"),
    ],
)
def test_unreadable_flags_are_quoted(text, message):
    with pytest.raises(ConfigError, match=message):
        read(text)
