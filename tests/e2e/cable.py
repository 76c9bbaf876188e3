"""A network with a cable that can be pulled: the server at one end, clients at the other."""

import contextlib
import ctypes
import os
import subprocess
import unittest

CLONE_NEWNET = 0x40000000
SERVER = "10.77.0.1"
# One client machine with two addresses: the network can lose each of them alone.
CLIENT, OTHER = "10.77.0.2", "10.77.0.3"

libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace):
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def new_namespace():
    """A descriptor of a network namespace that this thread is in from now on."""
    if libc.unshare(CLONE_NEWNET) != 0:
        raise unittest.SkipTest("needs the right to make network namespaces")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def ip(*args):
    try:
        done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise unittest.SkipTest("needs ip of iproute2") from None
    if done.returncode != 0:
        raise unittest.SkipTest(f"ip {' '.join(args)}: {done.stderr.strip()}")


class Cable:
    """The thread is at the server's end: what it starts is there too. close() leads it home."""

    def __init__(self):
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.server = self.client = None
        try:
            self.client = new_namespace()
            ip("link", "set", "lo", "up")
            self.server = new_namespace()
            ip("link", "set", "lo", "up")
            ip("link", "add", "near", "type", "veth", "peer", "name", "far")
            ip("link", "set", "far", "netns", f"/proc/{os.getpid()}/fd/{self.client}")
            ip("addr", "add", SERVER + "/24", "dev", "near")
            ip("link", "set", "near", "up")
            with self.at_client():
                for address in (CLIENT, OTHER):
                    ip("addr", "add", address + "/24", "dev", "far")
                ip("link", "set", "far", "up")
        except BaseException:
            self.close()
            raise

    def close(self):
        enter(self.home)
        for namespace in (self.home, self.server, self.client):
            if namespace is not None:
                os.close(namespace)

    @contextlib.contextmanager
    def at_client(self):
        """Sockets that are made meanwhile are the clients'."""
        enter(self.client)
        try:
            yield
        finally:
            enter(self.server)

    def pull(self, address=CLIENT):
        """From now on nothing reaches this address, and nobody is told."""
        ip("neigh", "replace", address, "lladdr", "02:00:00:00:00:99", "dev", "near",
           "nud", "permanent")
