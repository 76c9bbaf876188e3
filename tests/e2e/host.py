"""The host: its processes, one server that is started and stopped, and the binary run once."""

import contextlib
import json
import os
import re
import signal
import subprocess

from environment import BINARY, MARK, PATIENCE_S, plugin_path, wait_for
from http1 import Connection, request_bytes
from stream import Stream, read_stream


def read_proc(pid, name):
    """The content of /proc/PID/name; nothing if it cannot be read."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def live_processes():
    """The parent of each process that is not a zombie, by pid."""
    found = {}
    for entry in os.listdir("/proc"):
        fields = read_proc(entry, "stat").rpartition(b")")[2].split() if entry.isdigit() else None
        if fields and fields[0] not in (b"Z", b"X"):
            found[int(entry)] = int(fields[1])
    return found


def processes_with(mark):
    """The pids of all processes that carry the mark, if their environment can be read."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in live_processes() if wanted in read_proc(pid, "environ").split(b"\0")]


def processes_of(folder):
    """
    The pids of the server that serves this plugin folder, of its workers, and of what they have
    started. Everybody may read command lines; the environment of workers is neither readable
    nor the server's.
    """
    parents = live_processes()
    found = set()
    for pid in parents:
        args = os.fsdecode(read_proc(pid, "cmdline")).split("\0")
        if args[1:2] == ["serve"] and folder in args or \
                args[:2] == ["sluice", "worker"] and os.path.dirname(args[2]) == folder:
            found.add(pid)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def memory_kib(pid, kind="Pss"):
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith(kind + ":"):
                return int(line.split()[1])
    raise AssertionError(f"/proc/{pid}/smaps_rollup has no {kind}")


def waited_for_cpu_s(*pids):
    """How long the processes' main threads were ready to run while others had the CPUs."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/schedstat") as schedstat:
            total += int(schedstat.read().split()[1])
    return total / 1e9


def run_sluice(*args, stdin=b"", env=None, cwd=None):
    """Runs the binary to its end."""
    return subprocess.run([BINARY, *args], input=stdin, capture_output=True, cwd=cwd,
                          env={**os.environ, **(env or {})}, timeout=PATIENCE_S)


class Server:
    """`sluice serve` on a free port, on a folder of its own; over TLS with an Identity."""

    def __init__(self, folder, plugins, settings, env, tls=None):
        self.folder = folder
        self.plugin_folder = os.path.join(folder, "plugins")
        self.log_path = os.path.join(folder, "log")
        self.address = None
        self.admin = os.path.join(folder, "sluice", "admin.sock")
        os.mkdir(self.plugin_folder)
        for plugin in plugins:
            os.symlink(plugin_path(plugin), os.path.join(self.plugin_folder, plugin + ".so"))
        self.args = [BINARY, "serve", "-v", "--listen", "127.0.0.1:0",
                     "--plugins", self.plugin_folder]
        # Tests look into the server's /proc, which is only root's while the memory is guarded.
        debug = {} if os.getuid() == 0 else {"host.debug": "yes"}
        for key, value in {"host.shutdown_timeout": 5, **debug, **settings}.items():
            self.args += ["--set", f"{key}={value}"]
        self.tls = tls and tls.clients
        if tls:
            self.args += ["--set", f"host.tls_certificate={tls.certificate}",
                          "--set", f"host.tls_key={tls.key}"]
        self.env = {**os.environ, "XDG_RUNTIME_DIR": folder, **(env or {})}
        self.process = None
        self.is_stopped = False
        self.as_user = {}  # whose process it is, as subprocess takes it

    def start_process(self):
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.env, **self.as_user)

    def start(self):
        """Starts it and waits until it says where it listens."""
        self.start_process()
        wait_for(self.find_address, "the server listens")

    def find_address(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with status {self.process.returncode}")
        match = re.search(r"^sluice: listening on https?://([0-9.]+):(\d+)$", self.log(), re.M)
        if match:
            self.address = (match[1], int(match[2]))
        return match

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def lines(self, *words):
        """The log's lines that have all these words."""
        return [line for line in self.log().splitlines() if all(word in line for word in words)]

    def pids(self):
        return processes_of(self.plugin_folder)

    def workers(self):
        return [pid for pid in self.pids() if pid != self.process.pid]

    def report(self):
        """What `sluice list --json` prints: the plugins by name."""
        ended = run_sluice("list", "--json", "--admin", self.admin)
        if ended.returncode != 0:
            raise AssertionError(f"sluice list: {ended.stderr.decode()}")
        return {plugin["name"]: plugin for plugin in json.loads(ended.stdout)["plugins"]}

    def serving(self, plugin):
        """The pids of the plugin's workers that take runs."""
        return [worker["pid"] for generation in self.report()[plugin]["generations"]
                for worker in generation["workers"] if worker["state"] == "serving"]

    def worker_of(self, plugin):
        """The pid of the plugin's worker, which has only one."""
        pid, = wait_for(lambda: self.serving(plugin), f"{plugin} has a worker that serves")
        return pid

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        return self.process.wait(PATIENCE_S)

    def is_alive(self):
        return self.process.poll() is None

    def stop(self):
        """Ends it, cleanly or there is an error, and looks for what it left behind."""
        self.is_stopped = True
        if self.is_alive():
            self.signal(signal.SIGTERM)
        self.check_end()

    def check_end(self):
        """It ends, or has ended, cleanly."""
        self.is_stopped = True
        status = self.wait()
        left = self.pids()
        if status != 0:
            raise AssertionError(f"the server ended with status {status}")
        if left:
            raise AssertionError(f"the server left processes behind: {left}")

    def kill(self):
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):  # a worker ends with its front
                os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait(PATIENCE_S)

    # ---- what a client asks for ----

    def connect(self, receive_buffer=None):
        return Connection(self.address, receive_buffer, self.tls)

    def get(self, path):
        with self.connect() as connection:
            return connection.exchange("GET", path)

    def post(self, agent, value, query="", headers=None):
        """Starts a run and reads all of its answer."""
        with self.connect() as connection:
            connection.post(agent, value, query, headers)
            return connection.response()

    def run(self, agent, value, headers=None):
        """Starts a run and reads its stream to the end; returns its events."""
        answer = self.post(agent, value, headers=headers)
        if answer.status != 200:
            raise AssertionError(f"{answer.status}: {answer.body!r}")
        return read_stream(answer.body)

    def open(self, agent, value, receive_buffer=None, query="", headers=None, may_pack=False,
             version="1.1"):
        """Starts a run and returns its Stream, to be read bit by bit."""
        connection = self.connect(receive_buffer)
        connection.post(agent, value, query, headers, version)
        return Stream(connection, may_pack=may_pack)

    def reopen(self, run, after=0, receive_buffer=None, headers=None, may_pack=False):
        """A Stream of a run that there is, behind this event."""
        connection = self.connect(receive_buffer)
        connection.send(request_bytes("GET", f"/runs/{run}/events?after={after}", None, headers))
        return Stream(connection, "GET", after, may_pack)

    def detach(self, agent, value, query="", headers=None):
        """Starts a run without reading it; its id."""
        answer = self.post(agent, value, f"?mode=detach{query}", headers)
        if answer.status != 202:
            raise AssertionError(f"{answer.status}: {answer.body!r}")
        return answer.headers["location"].removeprefix("/runs/")

    def state(self, run):
        """What GET /runs/{id} says."""
        return self.get("/runs/" + run).json()

    def wait_held(self, run):
        """Waits until the run's agent waits for a reader; returns the number of its events."""
        def held():
            state = self.state(run)
            return state.get("held") and state
        return wait_for(held, "the agent waits for a reader")["events"]
