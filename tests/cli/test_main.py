"""The command `glowdiff`: what it dispatches to, how it fails, and how it is installed."""

from __future__ import annotations

import errno
import importlib
import os
import pwd
import subprocess
import sys
import time

import pytest

from glowdiff.cli import __main__ as dispatcher
from glowdiff.cli.main import command
from glowdiff.cli.paths import expanded
from glowdiff.errors import ConfigError
from tests import small
from tests.cli.typed import typed


def test_help_lists_every_command_and_fits_a_screen():
    for words in ([], ["--help"], ["-h"], ["help"]):
        result = typed(dispatcher.main, *words)
        assert result.code == (not words)
        assert len(result.out.splitlines()) <= 24
        assert all(f"\n  {name} " in result.out for name in dispatcher.COMMANDS)
    assert typed(dispatcher.main, "--version").out == "0.1.0\n"
    assert "\n  inpaint " in typed(dispatcher.main, "edit", "--help").out


@pytest.mark.parametrize("name", dispatcher.COMMANDS)
def test_every_command_has_a_module_with_a_main(name):
    result = typed(dispatcher.main, name, "--help")
    assert result.code == 0
    assert f"glowdiff {name}" in result.out


def test_a_misspelt_command():
    assert typed(dispatcher.main, "trian").error == "error: glowdiff has no command 'trian'. Did you mean train?\n"
    assert "Known: train, sample" in typed(dispatcher.main, "xyz").error


def test_errors_are_a_line_and_a_status():
    def raises(error: BaseException):
        @command
        def main(arguments):
            raise error

        return typed(main)

    assert raises(ConfigError("a\nb \x1b[31mc")).error == "error: a b \\x1b[31mc\n"
    assert raises(OSError(errno.ENOSPC, "No space left on device", "/a/b")).error == (
        "error: /a/b: No space left on device\n"
    )
    interrupted = raises(KeyboardInterrupt())
    assert (interrupted.code, interrupted.err) == (130, "error: interrupted.\n")
    assert raises(SystemExit(0)).code == 0
    with pytest.raises(ZeroDivisionError):
        raises(ZeroDivisionError())


def test_an_empty_home_is_not_the_root_folder(monkeypatch):
    monkeypatch.setenv("HOME", "")
    homes = []

    @command
    def main(arguments):
        homes.append(expanded("--out", "~/a.png"))

    assert typed(main).code == 0
    assert homes == [f"{pwd.getpwuid(os.getuid()).pw_dir}/a.png"]


SWALLOWED = """
import os, signal
from glowdiff.cli.main import command
from glowdiff.cli.paths import expanded

@command
def main(arguments):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        print("swallowed", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("twice", flush=True)

main([])
"""


def test_ctrl_c_that_a_callback_swallows_ends_the_command_the_second_time():
    result = small.command("-c", SWALLOWED)
    assert (result.returncode, result.stdout, result.stderr) == (130, "swallowed\n", "")


def test_a_pipe_that_is_closed_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)  # as `glowdiff configs | head` does, sooner or later
    words = [sys.executable, "-m", "glowdiff", "configs"]
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(words, stdout=closed, stderr=subprocess.PIPE, text=True, cwd=small.ROOT)
    assert (done.returncode, done.stderr) == (1, "")


def test_arguments_are_those_of_the_process_unless_given(monkeypatch):
    heard = []
    main = command(heard.append)
    monkeypatch.setattr(sys, "argv", ["glowdiff", "--a"])
    assert main() == main(["--b"]) == 0
    assert heard == [["--a"], ["--b"]]


def test_as_processes():
    """Exit status and the line on stderr; and help waits for nothing."""
    start = time.perf_counter()
    helped = small.command("-m", "glowdiff", "--help")
    seconds = time.perf_counter() - start
    assert helped.returncode == 0
    code = "import glowdiff.__main__, sys; sys.exit('jax' in sys.modules)"
    assert small.command("-c", code).returncode == 0, f"--help took {seconds} s"
    for name, words in (("train.py", ["--config=nice/digits:smoke"]), ("-m", ["glowdiff", "evaluate"])):
        failed = small.command(name, *words)
        assert failed.returncode == 1
        assert failed.stderr.startswith("error: --workdir is missing")
        assert failed.stderr.count("\n") == 1


def test_a_package_knows_its_main():
    import tomllib

    scripts = tomllib.loads((small.ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["glowdiff"].partition(":")
    assert getattr(importlib.import_module(module), function) is dispatcher.process
