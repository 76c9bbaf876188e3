#!/usr/bin/python3
"""Bad plugins: each is refused with a reason that helps, and the others serve."""

import json
import os
import shutil

from harness import (SANITIZED, Test, free_port, main, plugin_path, run_sluice, text_of,
                     wait_for)

REFUSED = "its plugin was refused; the server's log and `sluice list` say why"

FINE = {"calls": [{"op": "text", "text": "fine"}]}

# The plugin, and what its reason must say. A file is named where it was loaded.
FAULTS = {
    "fault_abi": ("refused at abi", "fault_abi.so", "ABI 7.3", "wanted is 1.0"),
    "fault_entry": ("refused at entry", "fault_entry.so", "agent_plugin_entry", "AGENT_PLUGIN"),
    "fault_symbol": ("refused at open", "fault_symbol.so", "fault_symbol_that_is_missing"),
    "fault_create": ("refused at create", "fault_create.so", "No such file or directory",
                     "the index /srv/books is not there"),
    "fault_selftest": ("refused at selftest", "fault_selftest.so", "two and two made 5"),
    "fault_name": ("refused at abi", "fault_name.so", "'fault/name'", "letters, digits"),
    "fault_handle": ("refused at abi", "fault_handle.so", "handle", "not set"),
    "fault_constructor": (("exited with",) if SANITIZED else
                          ("the plugin crashed outside of a run: SIGSEGV (invalid address 0x0)",
                           "fault_constructor.so", "while loading")),
    "fault_hang": ("not ready within 1 s", "create()"),
}


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


class FolderTest(Test):
    def start(self, *plugins, fill=None):
        server = self.prepare("e2e_emit", *plugins, settings={"host.start_timeout": 1})
        if fill:
            fill(server.plugin_folder)
        server.start()
        self.assertEqual(text_of(server.run("e2e_emit", FINE)), "fine")
        return server

    def check_refused(self, server, name, *words):
        """The log and the operators' list say why; GET /agents says where that is said."""
        agent = [agent for agent in server.get("/agents").json()["agents"]
                 if agent["name"] == name and agent["state"] == "refused"]
        self.assertEqual(len(agent), 1, server.get("/agents").body)
        self.assertEqual(agent[0]["reason"], REFUSED)
        reason, = [plugin["last_error"] for plugin in self.listed(server)
                   if plugin["name"] == name and plugin["state"] == "refused"]
        for word in words:
            self.assertIn(word, reason)
        lines = server.lines(" error front ", "plugin refused: ", reason,
                             f"file={server.plugin_folder}/")
        self.assertEqual(len(lines), 1, server.lines("refused"))
        return reason

    def listed(self, server):
        ended = run_sluice("list", "--json", "--admin", server.admin)
        return json.loads(ended.stdout)["plugins"]

    def check_no_path(self, server, *bodies):
        """No client learns where files are."""
        for body in bodies:
            self.assertNotIn(server.plugin_folder.encode(), body)
            self.assertNotIn(b".so", body)

    def test_each_fault(self):
        server = self.start(*FAULTS)
        for name, words in FAULTS.items():
            with self.subTest(plugin=name):
                reason = self.check_refused(server, name, *words)
                answer = server.post(name, {})
                self.assertTrue(reason)
                self.check_problem(answer, 503, "Service Unavailable",
                                   f"the agent '{name}' is not available: {REFUSED}")
                self.check_problem(server.get(f"/readyz?agent={name}"), 503, "Service Unavailable",
                                   f"the agent '{name}' does not serve: it is refused")
                self.check_no_path(server, answer.body)
        self.check_no_path(server, server.get("/agents").body)
        self.assertEqual(server.get("/readyz").json(),
                         {"status": "ok", "agents": {"serving": 1, "refused": len(FAULTS)}})
        self.assertEqual(len(server.workers()), 1, "only the good plugin has a worker")

    def test_files_that_are_no_plugins(self):
        def fill(folder):
            write(os.path.join(folder, "empty.so"), b"")
            write(os.path.join(folder, "text.so"), b"#!/bin/sh\nexit 0\n" * 200)
            with open(plugin_path("e2e_emit"), "rb") as whole:
                write(os.path.join(folder, "half.so"), whole.read()[:2000])
            os.mkdir(os.path.join(folder, "folder.so"))
            os.symlink("/nonexistent", os.path.join(folder, "dangling.so"))
            write(os.path.join(folder, "README"), b"not looked at")
            write(os.path.join(folder, ".hidden.so"), b"not looked at")

        server = self.start(fill=fill)
        for name in ("empty", "text", "folder", "dangling"):
            with self.subTest(file=name):
                self.check_refused(server, name, "refused at copy", f"{name}.so")
        self.check_refused(server, "half", "refused at copy", "is not whole: it has 2000 bytes")
        self.assertEqual(len(server.get("/agents").json()["agents"]), 6)

    def test_file_that_is_larger_than_the_memory(self):
        """It is copied into memory; a file with holes takes nothing of the disk."""
        def fill(folder):
            path = os.path.join(folder, "huge.so")
            shutil.copy(plugin_path("ticker"), path)
            os.truncate(path, 1 << 42)

        self.check_refused(self.start(fill=fill), "huge", "refused at copy",
                           "more than half of the memory there is")

    def test_special_files(self):
        """None of them is waited for, or read without end."""
        def fill(folder):
            os.mkfifo(os.path.join(folder, "fifo.so"))
            os.symlink("/dev/zero", os.path.join(folder, "zero.so"))
            os.symlink("loop.so", os.path.join(folder, "loop.so"))
            shutil.copy(plugin_path("ticker"), folder)
            os.mkfifo(os.path.join(folder, "ticker.so.sha256"))

        server = self.start(fill=fill)
        for name in ("fifo", "zero"):
            self.check_refused(server, name, "refused at copy", "is not a regular file")
        self.check_refused(server, "loop", "refused at copy", "Too many levels of symbolic links")
        self.check_refused(server, "ticker", "refused at checksum")

    def test_unreadable_file(self):
        def fill(folder):
            path = os.path.join(folder, "secret.so")
            shutil.copy(plugin_path("ticker"), path)
            os.chmod(path, 0)

        if os.getuid() == 0:
            self.skipTest("root reads every file")
        self.check_refused(self.start(fill=fill), "secret", "refused at copy", "Permission denied")

    def test_same_name_twice(self):
        """One of the two serves; which file has the name is said."""
        server = self.start(fill=lambda folder: shutil.copy(
            plugin_path("e2e_emit"), os.path.join(folder, "twin.so")))
        agents = {agent["state"]: agent for agent in server.get("/agents").json()["agents"]}
        self.assertEqual(sorted(agents), ["refused", "serving"])
        self.assertEqual(agents["serving"]["name"], "e2e_emit")
        refused, = [plugin for plugin in self.listed(server) if plugin["state"] == "refused"]
        self.assertRegex(refused["last_error"],
                         r"^the name 'e2e_emit' is already that of the plugin in .*/(twin|e2e_emit)\.so$")

    def test_name_differs_from_the_file(self):
        server = self.start(fill=lambda folder: shutil.copy(
            plugin_path("ticker"), os.path.join(folder, "clock.so")))
        self.assertEqual(server.run("ticker", {"count": 1})[-1].json(), {"status": "finished"})
        self.assertEqual(server.post("clock", {}).status, 404)

    def test_empty_folder(self):
        server = self.prepare()
        server.start()
        self.assertEqual(server.get("/agents").json(), {"agents": []})
        self.check_problem(server.get("/readyz"), 503, "Service Unavailable",
                           "no agent serves: there is none")
        self.assertEqual(len(server.lines("no plugin (*.so) in the plugin folder")), 1)

    def test_ready_while_something_serves(self):
        """A machine with nothing to serve must not attract clients."""
        server = self.start("fault_abi")
        self.assertEqual(server.get("/readyz").status, 200)
        self.assertEqual(server.get("/readyz?agent=nobody").status, 404)
        os.remove(os.path.join(server.plugin_folder, "e2e_emit.so"))
        wait_for(lambda: "1 refused" in server.get("/readyz").json().get("detail", ""),
                 "the file is gone, and the other one was tried again")
        answer = server.get("/readyz")
        self.check_problem(answer, 503, "Service Unavailable",
                           "no agent serves: 1 removed, 1 refused")
        self.assertEqual(answer.headers["retry-after"], "1")
        self.check_no_path(server, answer.body)
        self.assertEqual(server.get("/healthz").status, 200)

    def test_file_that_goes_while_its_plugin_starts(self):
        """The server does not wait for it any more."""
        server = self.prepare("fault_hang", settings={"host.start_timeout": 3600})
        server.start_process()
        wait_for(lambda: server.lines("admin socket open"), "the folder is watched")
        os.remove(os.path.join(server.plugin_folder, "fault_hang.so"))
        wait_for(server.find_address, "the server listens")
        wait_for(lambda: server.post("fault_hang", {}).status == 404, "the server has seen that")

    def test_requests_while_plugins_start(self):
        """The port is open before the plugins are settled: runs wait for theirs."""
        server = self.prepare("e2e_emit", "fault_hang", settings={"host.start_timeout": 3})
        server.address = ("127.0.0.1", free_port())
        server.args[server.args.index("127.0.0.1:0")] = "127.0.0.1:%d" % server.address[1]
        server.start_process()
        wait_for(lambda: self.can_connect(server), "the port is open")
        answer = server.get("/readyz")
        self.check_problem(answer, 503, "Service Unavailable",
                           "the server is still starting its plugins")
        self.assertEqual(answer.headers["retry-after"], "1")
        self.assertEqual(server.get("/healthz").status, 200)
        self.assertEqual(text_of(server.run("e2e_emit", FINE)), "fine")
        self.assertEqual(server.get("/readyz?agent=e2e_emit").json(),
                         {"status": "ok", "state": "serving"})
        self.check_problem(server.get("/readyz?agent=fault_hang"), 503, "Service Unavailable",
                           "the agent 'fault_hang' does not serve: it is starting")
        waiting = server.post("fault_hang", {})
        self.assertEqual(waiting.status, 200)
        self.assertIn(b'"code":"unavailable"', waiting.body)
        self.assertIn(REFUSED.encode(), waiting.body)
        self.check_no_path(server, waiting.body)
        self.assertTrue(server.lines("plugin refused: ", "not ready within 3 s"))
        self.assertEqual(server.get("/readyz").status, 200)

    def can_connect(self, server):
        try:
            server.connect().close()
            return True
        except ConnectionRefusedError:
            return False


class CheckTest(Test):
    def check(self, path):
        return run_sluice("check", path, "--set", "host.start_timeout=1")

    def listed(self, server):
        ended = run_sluice("list", "--json", "--admin", server.admin)
        return json.loads(ended.stdout)["plugins"]

    def check_no_path(self, server, *bodies):
        """No client learns where files are."""
        for body in bodies:
            self.assertNotIn(server.plugin_folder.encode(), body)
            self.assertNotIn(b".so", body)

    def test_each_fault(self):
        for name, words in FAULTS.items():
            with self.subTest(plugin=name):
                ended = self.check(plugin_path(name))
                message = ended.stderr.decode()
                self.assertEqual((ended.returncode, ended.stdout), (1, b""))
                self.assertIn(f"{plugin_path(name)} is not fit to serve: ", message)
                for word in words:
                    self.assertIn(word, message)

    def test_files_that_are_no_plugins(self):
        write(self.path("empty.so"), b"")
        write(self.path("text.so"), b"#!/bin/sh\nexit 0\n" * 200)
        for path, word in ((self.path("empty.so"), "not whole"), (self.path("text.so"), "ELF"),
                           (self.path("none.so"), "No such file"), (self.folder, "not a regular file")):
            with self.subTest(path=path):
                ended = self.check(path)
                self.assertEqual((ended.returncode, ended.stdout), (1, b""))
                self.assertIn(path, ended.stderr.decode())
                self.assertIn(word, ended.stderr.decode())

    def test_good_plugins(self):
        for name, text in (("e2e_emit", "e2e_emit 1.0, thread mode: fit to serve\n"),
                           ("e2e_ctx_fiber", "e2e_ctx_fiber 1.0, fiber mode: fit to serve\n")):
            ended = self.check(plugin_path(name))
            self.assertEqual((ended.returncode, ended.stdout.decode(), ended.stderr), (0, text, b""))

    def test_plugin_in_the_working_folder(self):
        shutil.copy(plugin_path("e2e_emit"), self.path("mine.so"))
        ended = run_sluice("check", "mine.so", cwd=self.folder)
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))


if __name__ == "__main__":
    main()
