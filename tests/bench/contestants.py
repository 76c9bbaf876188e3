"""
Who takes part in the benchmark: how each is built, started and asked for its
version, and why one cannot take part.

To add one: derive from Contestant, put it into ALL, give it a colour in
chart.py. What each has to serve is said at the top of bench.py.
"""

import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

PATIENCE_S = 20
FILES = 20000       # at most so many of a process are open
LIVE = ("sleeping", "woken")
NOT_DONE = "not done"   # by this contestant, and nobody expects it


class Unfit(Exception):
    """Something does not work here; says what."""


# ---- processes ----

def children_of_all():
    """{pid: pids of its children}, of all processes that there are."""
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as stat:
                parent = int(stat.read().rpartition(b")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry))
    return children


def family(pid):
    """A process and all that descend from it."""
    children = children_of_all()
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_ports(count):
    """
    So many ports that nobody listens on, out of the range that connections
    are made from; their last digits count from 1.
    """
    while True:
        first = random.randrange(20000, 32000, 10) + 1
        ports = list(range(first, first + count))
        if all(map(is_free, ports)):
            return ports


def free_port():
    return free_ports(1)[0]


def is_listening(port):
    """Without a connection, which some would take for a client."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                if re.search(rf"(?m)^ *\d+: \w+:{port:04X} \w+:0000 0A ", file.read()):
                    return True
        except OSError:
            continue
    return False


class Server:
    """A program that listens, with a folder of its own; ended with all its children by stop()."""

    def __init__(self, command, folder, port):
        self.folder = folder
        self.log_path = os.path.join(folder, os.path.basename(command[0]) + ".log")
        self.port = port
        with open(self.log_path, "wb") as log:
            try:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                                stderr=log, cwd=folder, start_new_session=True,
                                                env={**os.environ, "XDG_RUNTIME_DIR": folder})
            except OSError as error:
                raise Unfit(f"{command[0]}: {error.strerror}") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def wait_for(self, condition, what, patience_s=PATIENCE_S):
        deadline = time.monotonic() + patience_s
        while not condition():
            if self.process.poll() is not None:
                raise Unfit(f"{self.process.args[0]} ended with status {self.process.returncode}: "
                            f"{self.log()[-500:].strip()}")
            if time.monotonic() > deadline:
                raise Unfit(f"{self.process.args[0]}: waited {patience_s:.0f} s in vain: {what}; "
                            f"{self.log()[-500:].strip()}")
            time.sleep(0.01)

    def wait_listening(self):
        self.wait_for(lambda: is_listening(self.port), "it listens")

    def pids(self):
        return family(self.process.pid)

    def stop(self):
        """Asks it to end, but does not wait for streams that it may wait for."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(0.5)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


# ---- the contestants ----

def first_line(*command):
    """What a program says of itself; or nothing."""
    try:
        said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, text=True, timeout=PATIENCE_S).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.strip().partition("\n")[0]


def run_to_end(command, cwd):
    """Runs a program of the preparation; Unfit if it fails."""
    try:
        ended = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, timeout=300)
    except OSError as error:
        raise Unfit(f"{command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Unfit(f"{command[0]} did not end") from error
    if ended.returncode != 0:
        raise Unfit(f"{command[0]} failed: {ended.stdout[-500:].strip()}")


class Contestant:
    label = ""
    workloads = ("sleeping", "woken", "short-fresh", "short-kept", "flood", "idle")
    processes = 1         # over which the sockets of its clients and its upstreams are spread
    code = ()             # the files of its agents, in tests/bench
    runs_as = ""          # its processes
    hands_over = ""       # when events go to the kernel

    def __init__(self, places):
        self.places = places
        self.unfit = None     # or why it cannot take part
        self.built = None     # or the command that made its program

    def __init_subclass__(cls):
        cls.name = cls.__dict__.get("name") or cls.__name__.lower()

    def prepare(self):
        """Builds what is not built; Unfit if that cannot be."""

    def version(self):
        return ""

    def command(self, port, job):
        """What starts it, for a cells.Job."""
        raise NotImplementedError

    def furnish(self, folder, port, job):
        """Puts what the command needs into the folder where it runs."""

    def is_ready(self, port):
        return is_listening(port)

    def start(self, folder, job):
        """Returns a Server that is ready for clients."""
        port = free_port()
        self.furnish(folder, port, job)
        server = Server(self.command(port, job), folder, port)
        try:
            server.wait_for(lambda: self.is_ready(port), "it is ready")
            time.sleep(0.2)   # until those who start processes have them all
        except BaseException:
            server.stop()
            raise
        return server

    def why_not(self, workload, n):
        """Why it has no figure there, or None."""
        if workload not in self.workloads:
            return NOT_DONE
        if workload == "woken" and self.processes == 1 and \
                2 * n > resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200:
            return "too many files"
        return None


class Bound(Contestant):
    """The least that this machine allows: an epoll loop that knows beforehand what to send."""

    label = "bound"
    workloads = ("short-fresh", "short-kept", "flood", "flood-many", "idle")
    wake = "event"
    code = ("bound.c", "data.h", "net.c", "options.c", "peer.c")
    runs_as = "one process"
    hands_over = "(event) each event as it falls due or arrives; (ms) all of a millisecond; " \
        "without a pause, 64 KiB at a time"

    def prepare(self):
        if not os.access(self.places.tool("bound"), os.X_OK):
            raise Unfit("bound is not built")

    def command(self, port, job):
        command = [self.places.tool("bound"), "--port", str(port), "--events", str(job.events)]
        if job.workload == "woken":
            return command + ["--mode", "relay", "--url-port", str(job.feed_port), "--interval-us",
                              str(job.interval_ms * 1000), "--wake", self.wake]
        if job.workload == "flood-many":
            return command + ["--mode", "hub", "--readers", str(job.n)]
        return command + ["--mode", "tick", "--interval-ms", str(job.interval_ms), "--wake",
                          self.wake]


class BoundMs(Bound):
    label = "bound (ms)"
    workloads = LIVE
    wake = "ms"
    name = "bound-ms"


class BoundEvent(Bound):
    label = "bound (event)"
    workloads = LIVE
    name = "bound-event"


class Sluice(Contestant):
    label = "sluice"
    workloads = (*Contestant.workloads, "flood-many", "cost", "protocols", "swap")
    processes = 2
    agents = {"woken": ("relay",), "cost": ("cost", "cost_fiber"),
              "protocols": ("prose",)}
    code = ("agents/tick.c", "agents/relay.c")
    runs_as = "two processes, a front and a worker"
    hands_over = "the worker to the front at once when it is quiet, else once a millisecond or " \
        "4 KiB, and sleeps of over 20 ms end on odd milliseconds; the front, all that came"

    def prepare(self):
        if not os.access(self.places.sluice, os.X_OK):
            raise Unfit("sluice is not built")

    def why_not(self, workload, n):
        if workload == "protocols" and not shutil.which("valgrind"):
            return NOT_DONE
        return super().why_not(workload, n)

    def version(self):
        return first_line(self.places.sluice, "--version")

    def command(self, port, job):
        return [self.places.sluice, "serve", "--set", f"host.listen=127.0.0.1:{port}",
                "--set", f"host.max_connections={FILES}", "--set", f"host.max_runs={FILES}",
                "--set", "host.plugins=plugins"]

    def furnish(self, folder, port, job):
        plugins = os.path.join(folder, "plugins")
        os.mkdir(plugins)
        for agent in self.agents.get(job.workload, ("tick",)):
            shutil.copy(self.places.agent(agent), plugins)

    def is_ready(self, port):
        """Whether its agents are there."""
        if not is_listening(port):
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False


class Go(Contestant):
    label = "Go net/http"
    code = ("peers/server.go",)
    runs_as = "one process, on all cores"
    hands_over = "a flush for each event, without a pause too"

    def prepare(self):
        self.program = os.path.join(self.places.work, "server-go")
        self.built = ["env", "GO111MODULE=off", "go", "build", "-o", self.program,
                      self.places.peer("server.go")]
        run_to_end(self.built, self.places.work)

    def version(self):
        return first_line("go", "version")

    def command(self, port, job):
        return [self.program, str(port)]


class Node(Contestant):
    label = "Node http"
    code = ("peers/server.mjs",)
    runs_as = "one process"
    hands_over = "all of a turn of its loop"

    def prepare(self):
        self.program = shutil.which("node") or shutil.which("nodejs")
        if not self.program:
            raise Unfit("there is no node")

    def version(self):
        return "node " + first_line(self.program, "--version")

    def command(self, port, job):
        return [self.program, self.places.peer("server.mjs"), str(port)]


class FastApi(Contestant):
    label = "FastAPI"
    code = ("peers/server.py",)
    runs_as = "one process"
    hands_over = "all of a turn of its loop, 256 at most"
    modules = ("fastapi", "uvicorn", "uvloop", "httptools", "aiohttp")

    def prepare(self):
        self.program = "/usr/bin/python3"      # Debian's, which has Debian's packages
        for module in self.modules:
            run_to_end([self.program, "-c", f"import {module}"], self.places.work)

    def version(self):
        return first_line(self.program, "-c",
                          "import platform, importlib.metadata as m; "
                          "print('Python', platform.python_version(), "
                          f"*(f'{{p}} {{m.version(p)}}' for p in {self.modules!r}))")

    def command(self, port, job):
        return [self.program, self.places.peer("server.py"), str(port)]


class Kore(Contestant):
    label = "Kore"
    workloads = ("sleeping", "short-fresh", "short-kept", "flood", "idle")
    code = ("peers/kore.c", "peers/kore.conf.in")
    runs_as = "one process that serves, and one that supervises it"
    hands_over = "a flush for each event that falls due; without a pause, one for 512"

    def prepare(self):
        self.program = shutil.which("kore")
        if not self.program:
            raise Unfit("there is no kore")
        self.built = ["cc", "-O2", "-shared", "-fPIC", "-o",
                      os.path.join(self.places.work, "kore.so"), self.places.peer("kore.c")]
        run_to_end(self.built, self.places.work)

    def version(self):
        return "kore " + first_line(self.program, "-v")

    def command(self, port, job):
        return [self.program, "-f", "-n", "-r", "-q", "-c", "kore.conf"]

    def furnish(self, folder, port, job):
        with open(self.places.peer("kore.conf.in"), encoding="utf-8") as file:
            configuration = file.read().replace("@PORT@", str(port)).replace("@DIR@", folder)
        with open(os.path.join(folder, "kore.conf"), "w", encoding="utf-8") as file:
            file.write(configuration)
        os.symlink(os.path.join(self.places.work, "kore.so"), os.path.join(folder, "kore.so"))


ALL = (BoundMs, BoundEvent, Bound, Sluice, Kore, Go, Node, FastApi)
LABELS = {kind.name: kind.label for kind in ALL}
OURS = ("bound-ms", "bound-event", "bound", "sluice")
