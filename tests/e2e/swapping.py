"""
What the tests of swaps share: a host with plugin files that change and an
operators' socket, streams that live on under what is done to it, and the
commands.

The agents are those of tests/plugins/swap.h and swap_state.h.
"""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket

from harness import PATIENCE_S, Swarm, Test, plugin_path, run_sluice, wait_for


class Ticks:
    """
    Checks the streams of the agent swap: every tick is there, in order, and all
    of a run are of the generation that its run event told.
    """

    def __init__(self):
        self.runs = {}    # stream: (version, generation), as its run event says
        self.counts = {}  # stream: its last tick
        self.notes = {}   # stream: the note of its total

    def take(self, stream, event):
        value = event.json()
        if event.type == "run":
            self.runs[stream.number] = (value["version"], value["generation"])
            self.counts[stream.number] = 0
        elif event.type == "tick":
            made_by = (value["version"], value["generation"])
            if made_by != self.runs[stream.number]:
                raise AssertionError(f"a tick of {made_by} in a run of "
                                     f"{self.runs[stream.number]}")
            if value["n"] != self.counts[stream.number] + 1:
                raise AssertionError(f"tick {value['n']} comes behind "
                                     f"{self.counts[stream.number]}")
            self.counts[stream.number] += 1
        elif event.type == "total":
            if value["ticks"] != self.counts[stream.number]:
                raise AssertionError(f"{value['ticks']} ticks were emitted, "
                                     f"{self.counts[stream.number]} came")
            self.notes[stream.number] = value["note"]


class Live:
    """Streams of the agent swap that tick until finish() is called."""

    PERIOD_MS = 10

    def __init__(self, test, server, count):
        self.test = test
        self.until_file = test.path(f"until{len(test.lives)}")
        self.ticks = Ticks()
        self.swarm = Swarm(server.address, self.ticks.take)
        test.lives.append(self)
        test.addCleanup(self.swarm.close)
        for _ in range(count):
            self.swarm.add("swap", {"period_ms": self.PERIOD_MS, "until": self.until_file})
        self.read_on()

    def read_on(self, ticks=3):
        """Each stream gets so many more ticks, now."""
        wanted = {stream.number: self.ticks.counts.get(stream.number, 0) + ticks
                  for stream in self.swarm.streams}
        self.swarm.until(lambda: all(self.ticks.counts.get(number, 0) >= count
                                     for number, count in wanted.items()), "all streams tick")

    def finish(self):
        """Every stream ends as finished, with all its ticks."""
        if not os.path.exists(self.until_file):
            write(self.until_file, b"")
        self.swarm.finish()
        for stream in self.swarm.streams:
            self.test.assertEqual(stream.parser.done, {"status": "finished"})
            self.test.assertIn(stream.number, self.ticks.notes)

    def check_made_by(self, version, generation):
        self.test.assertEqual(set(self.ticks.runs.values()), {(version, generation)})


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


class SwapTest(Test):
    on_disconnect = "cancel"

    def setUp(self):
        super().setUp()
        self.lives = []

    # ---- the host ----

    def prepare_swap(self, settings=None, config=None, plugins=(), **files):
        """
        A host whose folder has FILE.so for each FILE=PLUGIN, a copy. config is
        the text of a configuration file. plugins are there besides, as links.
        """
        when_left = {f"plugin.{name}.on_disconnect": self.on_disconnect
                     for name in {*files, *files.values()} if re.fullmatch(r"[\w.-]+", name)}
        server = self.prepare(*plugins, settings={
            "host.admin": self.path(f"admin{len(self.servers)}"), **when_left,
            **(settings or {})})
        server.admin = self.path(f"admin{len(self.servers) - 1}")
        server.config = os.path.join(server.folder, "config")
        if config is not None:
            write(server.config, config.encode())
            server.args += ["--config", server.config]
        for file, plugin in files.items():
            shutil.copy(plugin_path(plugin), self.file(server, file))
        return server

    def serve_swap(self, **more):
        server = self.prepare_swap(**more)
        server.start()
        return server

    def file(self, server, name="swap"):
        return os.path.join(server.plugin_folder, name + ".so")

    def rename(self, server, plugin, name="swap"):
        """Puts the plugin there as installers do: whole, under its name at once."""
        temporary = os.path.join(server.plugin_folder, "." + name + ".new")
        shutil.copy(plugin_path(plugin), temporary)
        os.rename(temporary, self.file(server, name))

    def overwrite(self, server, plugin, name="swap"):
        """Writes the plugin into the file that is there, as cp does."""
        write(self.file(server, name), read(plugin_path(plugin)))

    # ---- commands ----

    def command(self, server, *args):
        return run_sluice(args[0], "--admin", server.admin, *args[1:])

    def check_command(self, server, *args, says=b""):
        ended = self.command(server, *args)
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, says, b""))

    def check_command_fails(self, server, *args):
        """Returns what it says."""
        ended = self.command(server, *args)
        self.assertEqual((ended.returncode, ended.stdout), (1, b""))
        message = ended.stderr.decode()
        self.assertRegex(message, r"^sluice: [^\n]+\n$")
        return message[len("sluice: "):-1]

    def listed(self, server):
        """The plugins by name, as list --json shows them."""
        ended = self.command(server, "list", "--json")
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))
        return {plugin["name"]: plugin for plugin in json.loads(ended.stdout)["plugins"]}

    def ask(self, server, question):
        """As a command does, without starting a process."""
        with Question(server, question) as asked:
            return asked.answer()

    def plugin(self, server, name="swap"):
        answer = self.ask(server, {"command": "list"})
        return next(plugin for plugin in answer["plugins"] if plugin["name"] == name)

    def hang_up(self, server):
        """SIGHUP; returns when the configuration was read, or refused."""
        def seen():
            return (len(server.lines("configuration reloaded")) +
                    len(server.lines("configuration refused")))

        before = seen()
        server.signal(signal.SIGHUP)
        wait_for(lambda: seen() > before, "the signal was noticed")

    # ---- what is current ----

    def agent(self, server, name="swap"):
        return next(agent for agent in server.get("/agents").json()["agents"]
                    if agent["name"] == name)

    def current(self, server, name="swap"):
        """(version, generation) of the agent that takes new runs."""
        agent = self.agent(server, name)
        return agent.get("version"), agent.get("generation")

    def run_of(self, server):
        """(version, generation) of a run that starts now, and the note of its total."""
        events = server.run("swap", {"count": 2, "period_ms": 1})
        self.assertEqual([event.type for event in events],
                         ["run", "tick", "tick", "total", "done"])
        self.assertEqual(events[-1].json(), {"status": "finished"})
        made_by = {(event.json()["version"], event.json()["generation"]) for event in events[:3]}
        self.assertEqual(len(made_by), 1)
        return made_by.pop(), events[3].json()["note"]

    def check_serves(self, server, version, generation):
        self.assertEqual(self.run_of(server)[0], (version, generation))
        self.assertEqual(self.current(server), (version, generation))

    def wait_serves(self, server, version, generation):
        wait_for(lambda: self.current(server) == (version, generation),
                 f"version {version} is current as generation {generation}")
        self.check_serves(server, version, generation)

    def wait_generations(self, server, *numbers, name="swap"):
        """Waits until these generations live, and no others."""
        wait_for(lambda: tuple(generation["generation"] for generation in
                               self.plugin(server, name)["generations"]) == numbers,
                 f"the generations {numbers} live")

    def last_error(self, server, name="swap"):
        return self.plugin(server, name).get("last_error")

    def wait_settled(self, server, action):
        """
        Does something after which nothing should happen, and waits until it
        would have happened: a file that appears after it was noticed.
        """
        name = f"settle{len(os.listdir(server.plugin_folder))}"
        action()
        shutil.copy(plugin_path("fault_entry"), self.file(server, name))
        wait_for(lambda: name in server.get("/agents").body.decode(), "a later file is noticed")
        wait_for(lambda: self.agent(server, name)["state"] == "refused", "and is refused")


class Question:
    """One question on the operators' socket, whose answer may take its time."""

    def __init__(self, server, question):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(server.admin)  # waits while the queue of connections is full
        self.socket.settimeout(PATIENCE_S)
        if question is not None:
            with contextlib.suppress(BrokenPipeError):  # if it was refused before it asked
                self.send(json.dumps(question).encode() + b"\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def has_answer(self):
        return bool(select.select([self.socket], [], [], 0)[0])

    def read(self):
        """All that comes until the server closes, which is a reset if it has not read all."""
        pieces = []
        with contextlib.suppress(ConnectionResetError):
            while piece := self.socket.recv(1 << 16):
                pieces.append(piece)
        return b"".join(pieces)

    def answer(self):
        text = self.read()
        if not text.endswith(b"\n") or text.count(b"\n") != 1:
            raise AssertionError(f"not one line: {text!r}")
        return json.loads(text)
