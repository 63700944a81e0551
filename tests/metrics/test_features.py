"""Features of many images: each image once, whatever the batches, the devices and the processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from glowdiff.errors import ConfigError
from glowdiff.metrics.features import array_batches, gathered, moments, reader
from glowdiff.metrics.moments import moments_of
from tests import small
from tests.metrics.looking import IMAGES, MESH, NETWORK, WEIGHTS, expected, looked, seen, spoken


def test_each_image_counts_once_in_any_batches():
    for batch in (8, 22, 32):
        found = gathered(seen(batch=batch))
        for name, features in expected().items():
            np.testing.assert_allclose(found[name], features, rtol=1e-5)
    whole, by_batch = (moments(seen(batch=batch), "flat") for batch in (22, 8))
    assert by_batch.images == 22
    np.testing.assert_allclose(by_batch.scatter, whole.scatter, rtol=1e-3)  # of float32 features of mean 100
    maps = moments(seen(), "map")
    assert maps.mean.shape == (12,)
    np.testing.assert_allclose(maps.mean, expected()["map"].reshape(22, -1).mean(0), rtol=1e-6)


def test_captions_are_read_likewise():
    tokens = np.random.default_rng(3).integers(0, 90, (11, 5)).astype(np.int32)
    mask = np.arange(5)[None] < np.arange(11)[:, None] % 5
    batches = array_batches(4, MESH, tokens=tokens, tokens_mask=mask)
    found = gathered(reader(NETWORK, MESH)(WEIGHTS, batches))["text"]
    np.testing.assert_allclose(found, spoken(WEIGHTS, tokens, mask)["text"], rtol=1e-6)


def test_the_order_of_images_does_not_matter():
    order = np.random.default_rng(2).permutation(22)
    np.testing.assert_allclose(moments(seen(IMAGES[order]), "flat").scatter, moments(seen(), "flat").scatter, rtol=1e-3)


def test_images_that_leave_no_numbers_are_named():
    network = NETWORK._replace(images=lambda v, x: looked(v, x) | {"flat": jnp.log(x[:, 0, 0] - 0.05)})
    images = np.maximum(IMAGES, 20)
    images[[4, 21], 0, 0, 0] = 3
    with pytest.raises(ConfigError, match=r"not finite \(NaN or infinity\) for 2 of 22 images, numbers 4, 21"):
        gathered(seen(images, network=network))


def test_what_cannot_be_asked():
    with pytest.raises(ConfigError, match=r"prepare is 'scald'.*Did you mean 'scaled'"):
        next(seen(prepare="scald"))
    with pytest.raises(ConfigError, match=r"feature is 'flt'.*Did you mean 'flat'"):
        next(seen(names=("flt",)))
    with pytest.raises(ConfigError, match="this network reads no captions"):
        reader(NETWORK._replace(texts=None), MESH)
    with pytest.raises(ConfigError, match="no images to measure"):
        moments(seen(IMAGES[:0]), "flat")


# Two processes of two devices each, one of which has no real row of the last batch.
PROCESSES = """
import json, sys
import jax
jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[1]))
from glowdiff.metrics.features import gathered, moments
from glowdiff.metrics.neighbours import neighbourhoods
from tests.metrics.looking import MESH, seen
assert MESH.size == 4
found, total = gathered(seen()), moments(seen(), "flat")
close = neighbourhoods(found["flat"], found["flat"][:11] + 1)
print(json.dumps([found["flat"].tolist(), total.images, total.mean.tolist(), total.scatter.tolist(), list(close)]))
"""


def test_two_processes_and_four_devices():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, **small.with_devices(2)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESSES, str(process), address], cwd=small.ROOT, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for process in range(2)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=120) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], outputs
    one, other = (json.loads(out.splitlines()[-1]) for out, _ in outputs)
    assert one == other
    features, images, mean, scatter, close = one
    np.testing.assert_allclose(features, expected()["flat"], rtol=1e-6)
    alone = moments_of(np.float32(features))
    assert images == 22
    np.testing.assert_allclose(mean, alone.mean, rtol=1e-14)
    np.testing.assert_allclose(scatter, alone.scatter, rtol=1e-9)
    assert 0 < close[0] <= 1
