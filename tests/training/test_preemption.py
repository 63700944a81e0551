import os
import signal
import socket
import subprocess
import sys
import threading
from types import FrameType

import pytest

from glowdiff.training.preemption import Preemption


@pytest.fixture
def earlier():
    """A handler that was there before, and notes its calls."""
    calls: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        calls.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    yield handler, calls
    signal.signal(signal.SIGTERM, before)


def test_a_signal_is_remembered_until_it_is_asked_for(earlier):
    with Preemption() as preemption:
        assert not preemption.requested(1)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.requested(2)
        assert preemption.requested(3)
    assert earlier[1] == []


@pytest.mark.parametrize("fails", [False, True])
def test_the_earlier_handler_comes_back(earlier, fails: bool):
    handler, calls = earlier
    preemption = Preemption()
    try:
        with preemption:
            assert signal.getsignal(signal.SIGTERM) is not handler
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert signal.getsignal(signal.SIGTERM) is handler
    os.kill(os.getpid(), signal.SIGTERM)
    assert calls == [signal.SIGTERM]
    assert not preemption.requested(1)


def test_entering_again_forgets_the_signal(earlier):
    preemption = Preemption()
    with preemption:
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.requested(1)
    with preemption:
        assert not preemption.requested(1)


@pytest.fixture
def interruptible():
    """Ctrl-C as in a shell's foreground."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_raises_until_there_is_something_to_save(earlier, interruptible):
    with Preemption() as preemption:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        preemption.begin()  # a callback of JAX may have swallowed it
        assert preemption.requested(1)
    with Preemption() as preemption:
        preemption.begin()
        assert not preemption.requested(1)
        os.kill(os.getpid(), signal.SIGINT)
        assert preemption.requested(2)
        assert preemption.cause == "Ctrl-C"
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


TWICE = """
import os, signal
from glowdiff.training.preemption import Preemption

with Preemption() as preemption:
    preemption.begin()
    os.kill(os.getpid(), signal.SIGINT)
    print("once", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("twice", flush=True)
"""


def test_a_second_ctrl_c_ends_at_once():
    result = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (130, "once\n")
    assert result.stderr.strip() == "error: interrupted twice; ended without a save. Earlier checkpoints are intact."


def test_a_closed_terminal_is_noticed_unless_it_is_to_be_ignored(earlier):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` asks
    try:
        with Preemption() as preemption:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not preemption.requested(1)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with Preemption() as preemption:
            os.kill(os.getpid(), signal.SIGHUP)
            assert preemption.requested(1)
            assert preemption.cause == "a closed terminal (SIGHUP)"
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_it_says_so(earlier, caplog: pytest.LogCaptureFixture):
    found = []

    def enter() -> None:
        with Preemption() as preemption:
            found.append((signal.getsignal(signal.SIGTERM), preemption.requested(1)))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [(earlier[0], False)]
    assert "Not in the main thread" in caplog.text


COMPILING = """
import os, signal, threading, time
import jax, jax.numpy as jnp
from glowdiff.training.preemption import Preemption

jax.config.update("jax_enable_compilation_cache", False)  # a program that is kept takes no time to compile

def slow(x):
    for _ in range(300):
        x = jnp.sin(x) @ x
    return x

with Preemption() as preemption:
    lowered = jax.jit(slow).lower(jnp.ones((4, 4)))
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
    start = time.time()
    lowered.compile()
    assert time.time() - start > 0.05, "the signal was to come while compiling"
    time.sleep(0.2)
    print("requested", preemption.requested(1))
"""


def test_a_signal_while_compiling_is_honoured_afterwards():
    result = subprocess.run([sys.executable, "-c", COMPILING], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "requested True\n"), result.stderr


# Each process takes steps at its own speed; the first sends SIGTERM to itself alone.
DISTRIBUTED = """
import os, signal, sys, time
import jax
from glowdiff.training.preemption import Preemption

process = int(sys.argv[1])
jax.distributed.initialize(sys.argv[2], 2, process)
with Preemption() as preemption:
    for step in range(1, 2000):
        if process == 0 and step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.005 * (1 + process))
        if preemption.requested(step):
            break
print("stopped at", step)
sys.stdout.flush()
"""


def test_all_processes_stop_at_the_same_step():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DISTRIBUTED, str(process), address],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    lines = {out.strip() for out, _ in outputs}
    assert len(lines) == 1, outputs
    assert 5 <= int(lines.pop().removeprefix("stopped at ")) < 1999
