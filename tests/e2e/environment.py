"""
What is tested, from the environment, and waiting for conditions:

    SLUICE               the binary
    SLUICE_PLUGINS       folder of the reference plugins (echo.so, ticker.so, ...)
    SLUICE_TEST_PLUGINS  folder of the plugins of tests/plugins
    SLUICE_SRCDIR        the source tree; this file's if not set
    SLUICE_SANITIZED     1: the binary was built with sanitizers, and is slow and large
"""

import os
import shutil
import socket
import sys
import time

SRCDIR = os.path.abspath(os.environ.get("SLUICE_SRCDIR") or
                         os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SANITIZED = os.environ.get("SLUICE_SANITIZED") == "1"

# No test waits longer than this for what should happen at once.
PATIENCE_S = 60 if SANITIZED else 20

# What a test starts besides servers carries it, with a value of its own, in its environment.
MARK = "SLUICE_E2E_SERVER"


def required(name):
    value = os.environ.get(name)
    if not value:
        sys.exit(f"{name} is not set; see tests/e2e/environment.py")
    return os.path.abspath(value)


BINARY = required("SLUICE")
REFERENCE_PLUGINS = required("SLUICE_PLUGINS")
TEST_PLUGINS = required("SLUICE_TEST_PLUGINS")


def copy_programs(folder):
    """Copies `sluice`, and what it becomes to serve; returns the path of the first."""
    shutil.copy(BINARY + "-front", folder)
    return shutil.copy(BINARY, folder)


def plugin_path(name):
    """The file of a plugin, of the reference ones or the tests'."""
    for folder in (TEST_PLUGINS, REFERENCE_PLUGINS):
        path = os.path.join(folder, name + ".so")
        if os.path.exists(path):
            return path
    raise FileNotFoundError(f"{name}.so is neither in {TEST_PLUGINS} nor in {REFERENCE_PLUGINS}")


def wait_for(condition, what, patience_s=PATIENCE_S):
    """Polls until condition() is true, and returns what it returned."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s} s in vain: {what}")
        time.sleep(0.005)


def free_port():
    """A port that nobody listens on, as yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
