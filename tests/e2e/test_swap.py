#!/usr/bin/python3
"""Plugins that are replaced under live streams: what starts a swap, and what may go wrong."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import threading

from harness import SANITIZED, Swarm, main, plugin_path, run_sluice, types, wait_for
from swapping import Live, Question, SwapTest, read, write

STREAMS = 20


class GenerationTest(SwapTest):
    def test_runs_finish_where_they_started(self):
        server = self.serve_swap(swap="swap_one")
        self.check_serves(server, "one", 1)
        old = Live(self, server, STREAMS)
        self.rename(server, "swap_two")
        self.wait_serves(server, "two", 2)
        new = Live(self, server, STREAMS)
        old.read_on()
        self.assertEqual([(generation["generation"], generation["state"])
                          for generation in self.plugin(server)["generations"]],
                         [(1, "draining"), (2, "serving")])
        old.finish()
        old.check_made_by("one", 1)
        self.wait_generations(server, 2)
        new.read_on()
        new.finish()
        new.check_made_by("two", 2)

    def test_processes_of_old_generations_end(self):
        server = self.serve_swap(swap="swap_one")
        for n in range(2, 8):
            self.rename(server, ("swap_one", "swap_two")[n % 2])
            self.wait_serves(server, ("one", "two")[n % 2], n)
        self.wait_generations(server, 7)
        worker = self.plugin(server)["generations"][0]["workers"][0]
        self.assertEqual(server.workers(), [worker["pid"]])

    def test_kept_connection(self):
        """What a client holds on to goes on over swaps."""
        server = self.serve_swap(swap="swap_one")
        with server.connect() as connection:
            for n, version in ((1, "one"), (2, "two"), (3, "one")):
                if n > 1:
                    self.rename(server, "swap_" + version)
                    self.wait_serves(server, version, n)
                connection.post("swap", {"count": 1}, "?mode=wait")
                self.assertEqual(connection.response().status, 200)
                connection.post("swap", {"count": 1})
                answer = connection.response()
                self.assertIn(f'"version":"{version}","generation":{n}'.encode(), answer.body)

    def test_runs_that_wait_for_the_first_generation(self):
        """They are started, by the file that is there in the end."""
        gate = self.path("gate")
        server = self.prepare_swap(swap="swap_one", settings={"plugin.swap.gate": gate})
        server.start_process()
        wait_for(lambda: os.path.exists(gate + ".reached"), "create() waits")
        self.rename(server, "swap_two")
        write(gate, b"")
        wait_for(server.find_address, "the server listens")
        self.wait_serves(server, "two", 2)

    def test_generations_of_other_plugins_stay(self):
        server = self.serve_swap(swap="swap_one", state="swap_state_one")
        self.rename(server, "swap_two")
        self.wait_serves(server, "two", 2)
        self.assertEqual(self.current(server, "swap_state"), ("one", 1))


class FolderTest(SwapTest):
    def test_new_file(self):
        server = self.serve_swap(state="swap_state_one")
        self.assertEqual(server.post("swap", {}).status, 404)
        self.rename(server, "swap_one")
        wait_for(lambda: server.post("swap", {"count": 0}).status == 200, "the new agent serves")
        self.check_serves(server, "one", 1)

    def test_new_file_written_in_place(self):
        server = self.serve_swap(state="swap_state_one")
        write(self.file(server), read(plugin_path("swap_one")))
        wait_for(lambda: server.post("swap", {"count": 0}).status == 200, "the new agent serves")

    def test_overwritten(self):
        """cp over the file whose code runs."""
        server = self.serve_swap(swap="swap_one")
        live = Live(self, server, STREAMS)
        for n in range(2, 6):
            version = ("one", "two")[n % 2 == 0]
            self.overwrite(server, "swap_" + version)
            self.wait_serves(server, version, n)
            live.read_on()
        live.finish()
        live.check_made_by("one", 1)

    def upload(self, server, name, plugin, file):
        """
        Writes the file in pieces and closes it after each, which is looked at before the
        next one comes.
        """
        whole = read(plugin_path(plugin))
        ends = (10, 3000, len(whole) // 2, len(whole) - 1, len(whole))
        write(self.file(server, file), b"")
        for begin, end in zip((0,) + ends, ends):
            with open(self.file(server, file), "ab") as upload:
                upload.write(whole[begin:end])
            if end < len(whole):
                wait_for(lambda: f"it has {end} bytes" in str(self.error_of(server, name)),
                         f"{end} bytes were looked at")
                self.assertIn("is not whole", self.error_of(server, name))
                yield

    def error_of(self, server, name):
        return {plugin["name"]: plugin.get("last_error") for plugin in
                self.ask(server, {"command": "list"})["plugins"]}.get(name)

    def test_slow_upload(self):
        server = self.serve_swap(swap="swap_one")
        live = Live(self, server, STREAMS)
        for _ in self.upload(server, "swap", "swap_two", "swap"):
            self.assertEqual(self.current(server), ("one", 1))
            live.read_on()
        self.wait_serves(server, "two", 2)
        self.assertIsNone(self.last_error(server))
        live.finish()
        live.check_made_by("one", 1)

    def test_slow_upload_of_a_new_file(self):
        server = self.serve_swap(state="swap_state_one")
        for _ in self.upload(server, "late", "swap_one", "late"):
            self.assertEqual(server.post("late", {}).status, 503)
        wait_for(lambda: server.post("swap", {"count": 0}).status == 200, "the new agent serves")
        self.assertIsNone(self.last_error(server))

    def test_removed(self):
        server = self.serve_swap(swap="swap_one", state="swap_state_one")
        live = Live(self, server, STREAMS)
        os.remove(self.file(server))
        wait_for(lambda: server.post("swap", {"count": 0}).status == 404, "the agent is gone")
        self.assertEqual([agent["name"] for agent in server.get("/agents").json()["agents"]],
                         ["swap_state"])
        self.assertEqual(self.plugin(server)["state"], "removed")
        live.read_on()
        live.finish()
        live.check_made_by("one", 1)
        wait_for(lambda: "swap" not in self.listed(server), "nothing is left of it")
        self.assertEqual(len(server.workers()), 1)

    def test_removed_and_put_back(self):
        server = self.serve_swap(swap="swap_one")
        live = Live(self, server, STREAMS)
        os.rename(self.file(server), self.path("aside"))
        wait_for(lambda: server.post("swap", {"count": 0}).status == 404, "the agent is gone")
        os.rename(self.path("aside"), self.file(server))
        wait_for(lambda: server.post("swap", {"count": 0}).status == 200, "the agent is back")
        self.check_serves(server, "one", 2)
        live.finish()

    def test_removed_and_written_at_once(self):
        """As some installers do: it is never said to be gone."""
        server = self.serve_swap(swap="swap_one")
        data = read(plugin_path("swap_two"))
        os.remove(self.file(server))
        write(self.file(server), data)
        self.wait_serves(server, "two", 2)
        self.assertEqual(server.lines("plugin file removed"), [])

    def test_moved_to_another_name(self):
        server = self.serve_swap(swap="swap_one")
        live = Live(self, server, STREAMS)
        os.rename(self.file(server), self.file(server, "moved"))
        wait_for(lambda: [agent["state"] for agent in server.get("/agents").json()["agents"]
                          if agent["name"] == "swap"] == ["serving"] and
                 not server.lines("plugin refused"), "the file with the new name serves")
        wait_for(lambda: server.post("swap", {"count": 0}).status == 200, "and takes runs")
        live.finish()

    def test_new_name_first(self):
        """The file of the next version lies there when the old one goes."""
        server = self.serve_swap(swap="swap_one")
        self.rename(server, "swap_two", "swap-2")
        wait_for(lambda: server.lines("the name 'swap' is already that of the plugin in "), "it is refused")
        os.remove(self.file(server))
        wait_for(lambda: ("swap", "two") in [(agent["name"], agent.get("version")) for agent in
                                             server.get("/agents").json()["agents"]],
                 "the new file serves")
        self.assertEqual(server.post("swap", {"count": 0}).status, 200)

    def test_files_that_are_none_of_its_business(self):
        server = self.serve_swap(swap="swap_one")

        def act():
            for name in (".hidden.so", "swap.so.new", "README"):
                shutil.copy(plugin_path("swap_two"), os.path.join(server.plugin_folder, name))
            os.utime(server.plugin_folder)

        self.wait_settled(server, act)
        self.assertEqual(sorted(self.listed(server)), ["settle1", "swap"])
        self.check_serves(server, "one", 1)

    def test_same_file_noticed_twice(self):
        """A change that leaves the file as it was swaps nothing."""
        server = self.serve_swap(swap="swap_one")

        def act():
            os.chmod(self.file(server), 0o700)
            os.link(self.file(server), self.path("link"))

        self.wait_settled(server, act)
        self.check_command(server, "reload", "swap")
        self.assertEqual(self.current(server), ("one", 2))

    def test_changes_in_a_row_are_few_swaps(self):
        server = self.serve_swap(swap="swap_one")
        for n in range(100):
            self.rename(server, ("swap_one", "swap_two")[n % 2])
        wait_for(lambda: self.current(server)[0] == "two", "the last one serves")
        self.wait_settled(server, lambda: None)
        version, generation = self.current(server)
        self.assertEqual(version, "two")
        self.assertLess(generation, 20)


class CopyTest(SwapTest):
    """The file is large, so that its copy takes time, in which the host does other things."""

    SIZE = 384 << 20

    def begin(self, plugin="swap_two", **more):
        """A host that is copying, and streams of the version before."""
        server = self.serve_swap(swap="swap_one", **more)
        self.live = Live(self, server, STREAMS)
        self.rename_large(server, plugin)
        wait_for(lambda: self.is_copying(server), "the copy is under way")
        return server

    def rename_large(self, server, plugin):
        temporary = os.path.join(server.plugin_folder, ".large")
        shutil.copy(plugin_path(plugin), temporary)
        os.truncate(temporary, self.SIZE)
        os.rename(temporary, self.file(server))

    def is_copying(self, server):
        """The front holds a copy that grows: larger than the plugin, and not whole."""
        folder = f"/proc/{server.process.pid}/fd"
        for name in os.listdir(folder):
            try:
                if os.readlink(f"{folder}/{name}").startswith("/memfd:swap.so"):
                    if 1 << 20 < os.stat(f"{folder}/{name}").st_size < self.SIZE:
                        return True
            except OSError:
                pass
        return False

    def finish(self):
        self.live.read_on()
        self.live.finish()
        self.live.check_made_by("one", 1)

    def test_front_serves_meanwhile(self):
        """A request that is answered while the copy is not whole waited for nothing."""
        server = self.begin()
        answered = 0
        while self.is_copying(server):
            self.assertEqual(server.get("/healthz").status, 200)
            answered += self.is_copying(server)
        self.assertGreater(answered, 3)
        self.wait_serves(server, "two", 2)
        self.finish()

    def test_wish_meanwhile(self):
        """The copy is finished and swapped to, then the newer file."""
        server = self.begin()
        self.rename(server, "swap_one")
        self.wait_serves(server, "one", 3)
        self.finish()

    def test_event_meanwhile(self):
        """One that changed nothing joins the swap under way."""
        server = self.begin()
        for _ in range(3):
            self.hang_up(server)
        self.check_command(server, "reload")
        self.check_serves(server, "two", 2)
        self.wait_settled(server, lambda: None)
        self.check_serves(server, "two", 2)
        self.finish()

    def test_commands_meanwhile(self):
        server = self.begin()
        self.assertIn("a swap is under way", self.check_command_fails(server, "rollback", "swap"))
        with Question(server, {"command": "reload", "name": "swap"}) as question:
            self.check_command(server, "drain", "swap")
            self.assertIn("drained", question.answer()["error"])
        self.assertEqual(server.post("swap", {}).status, 503)
        self.wait_settled(server, lambda: None)
        self.assertFalse(self.is_copying(server))
        self.check_problem(server.get("/readyz?agent=swap"), 503, "Service Unavailable",
                           "the agent 'swap' does not serve: it is drained")
        self.assertEqual(self.agent(server)["state"], "drained")
        self.finish()

    def test_removal_meanwhile(self):
        server = self.begin()
        os.remove(self.file(server))
        wait_for(lambda: server.post("swap", {"count": 0}).status == 404, "the agent is gone")
        self.rename(server, "swap_one")
        wait_for(lambda: server.post("swap", {"count": 0}).status == 200, "the agent is back")
        self.assertEqual(self.current(server)[0], "one")
        self.finish()

    def test_stop_meanwhile(self):
        server = self.begin(settings={"host.shutdown_timeout": 0})
        server.stop()

    def test_first_copy(self):
        """Runs wait for it, as for all of the first start."""
        server = self.serve_swap(state="swap_state_one")
        self.rename_large(server, "swap_one")
        wait_for(lambda: self.is_copying(server), "the copy is under way")
        self.assertEqual(self.agent(server)["state"], "starting")
        self.check_serves(server, "one", 1)


class ReloadTest(SwapTest):
    """On files that are links: what they point at changes without that the folder does."""

    def serve_linked(self, **more):
        self.target = self.path("target.so")
        shutil.copy(plugin_path("swap_one"), self.target)
        server = self.prepare_swap(**more)
        os.symlink(self.target, self.file(server))
        server.start()
        return server

    def change(self, plugin):
        shutil.copy(plugin_path(plugin), self.target + ".new")
        os.rename(self.target + ".new", self.target)

    def test_reload_one(self):
        server = self.serve_linked()
        live = Live(self, server, STREAMS)
        self.change("swap_two")
        self.check_command(server, "reload", "swap")
        self.check_serves(server, "two", 2)  # it serves when the command has ended
        live.read_on()
        live.finish()
        live.check_made_by("one", 1)

    def test_reload_one_that_did_not_change(self):
        server = self.serve_linked()
        self.check_command(server, "reload", "swap")
        self.check_serves(server, "one", 2)

    def test_reload_what_changed(self):
        server = self.serve_linked(state="swap_state_one")
        self.change("swap_two")
        self.check_command(server, "reload")
        self.wait_serves(server, "two", 2)
        self.assertEqual(self.current(server, "swap_state"), ("one", 1))

    def test_reload_what_changed_tells_of_failure(self):
        server = self.serve_linked()
        self.change("swap_bad_create")
        self.assertIn("the model tiny is not there", self.check_command_fails(server, "reload"))
        self.check_serves(server, "one", 1)

    def test_reload_without_change(self):
        server = self.serve_linked(state="swap_state_one")
        for _ in range(3):
            self.check_command(server, "reload")
        self.check_command(server, "reload", "swap")
        self.check_serves(server, "one", 2)

    def test_signal(self):
        server = self.serve_linked()
        live = Live(self, server, STREAMS)
        self.change("swap_two")
        self.hang_up(server)
        self.wait_serves(server, "two", 2)
        live.finish()
        live.check_made_by("one", 1)

    def test_signal_without_change(self):
        server = self.serve_linked()
        for _ in range(3):
            self.hang_up(server)
        self.check_command(server, "reload", "swap")
        self.check_serves(server, "one", 2)

    def test_unknown_name(self):
        server = self.serve_linked()
        for command in ("reload", "rollback", "drain"):
            self.assertEqual(self.check_command_fails(server, command, "nobody"),
                             "there is no plugin 'nobody'; `sluice list` shows those there are")

    # ---- one after the other ----

    def serve_gated(self):
        """A host on which no swap will be ready before open_gate()."""
        self.gate = self.path("gate")
        write(self.gate, b"")
        server = self.serve_linked(settings={"plugin.swap.gate": self.gate})
        os.remove(self.gate)
        os.remove(self.gate + ".reached")
        return server

    def begin_slow_swap(self):
        """The same, and one is under way: its host and the command that asked for it."""
        server = self.serve_gated()
        question = self.put(server, "reload")
        self.wait_at_gate()
        return server, question

    def wait_at_gate(self):
        wait_for(lambda: os.path.exists(self.gate + ".reached"), "create() waits")

    def open_gate(self):
        write(self.gate, b"")

    def put(self, server, command):
        question = Question(server, {"command": command, "name": "swap"})
        self.addCleanup(question.socket.close)
        return question

    def test_storm_of_commands_is_one_swap(self):
        server, first = self.begin_slow_swap()
        storm = [self.put(server, "reload") for _ in range(40)]
        for _ in range(3):
            self.assertEqual([generation["state"] for generation in
                              self.plugin(server)["generations"]], ["serving", "starting"])
        self.open_gate()
        for question in [first] + storm:
            self.assertEqual(question.answer(), {"ok": True})
        self.wait_serves(server, "one", 3)
        self.wait_generations(server, 3)

    def test_more_commands_wait_than_may(self):
        """One too many is told so: the last, or the one before if that was not read yet."""
        server, first = self.begin_slow_swap()
        waiting = [first] + [self.put(server, "reload") for _ in range(62)]
        self.plugin(server)  # after this answer, the others are read
        last = [self.put(server, "reload") for _ in range(2)]
        refused, = wait_for(lambda: [question for question in last if question.has_answer()],
                            "it is told")
        self.assertEqual(refused.answer(),
                         {"ok": False, "error": "too many commands wait for the server"})
        last.remove(refused)
        self.open_gate()
        for question in waiting + last:
            self.assertEqual(question.answer(), {"ok": True})

    def test_old_one_serves_during_a_slow_swap(self):
        server, question = self.begin_slow_swap()
        live = Live(self, server, STREAMS)
        self.check_serves(server, "one", 1)
        self.open_gate()
        self.assertEqual(question.answer(), {"ok": True})
        self.check_serves(server, "one", 2)
        live.finish()
        live.check_made_by("one", 1)

    def test_all_are_answered_when_the_server_stops(self):
        """Who waits for a swap, who has not asked yet, and who was not accepted yet."""
        stopping = {"ok": False, "error": "the server is stopping"}
        server, waiting = self.begin_slow_swap()
        silent = Question(server, None)
        self.plugin(server)  # after this answer, the silent one is accepted
        server.signal(signal.SIGSTOP)
        asking = [self.put(server, command) for command in ("list", "reload")]
        asking += [Question(server, question) for question in ({"command": "refresh"}, None)]
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGCONT)
        for question in waiting, silent, asking[-1]:
            self.assertEqual(question.answer(), stopping)
        for question in asking[:-1]:
            answer = question.answer()
            self.assertTrue(answer["ok"] or answer == stopping, answer)
        server.check_end()
        for question in silent, *asking[-2:]:
            question.socket.close()

    def test_command_waits_for_the_file_of_its_time(self):
        """Not for the swap that was under way when it came, of the file before."""
        server, first = self.begin_slow_swap()
        self.change("swap_two")
        second = self.put(server, "reload")
        self.assertEqual(len(self.plugin(server)["generations"]), 2)
        self.open_gate()
        self.assertEqual(first.answer(), {"ok": True})
        self.assertEqual(second.answer(), {"ok": True})
        self.check_serves(server, "two", 3)

    def test_command_is_not_told_of_another_ones_failure(self):
        server = self.serve_linked(settings={"host.start_timeout": 1})
        self.change("swap_bad_hang")
        first = self.put(server, "reload")
        wait_for(lambda: len(self.plugin(server)["generations"]) == 2, "the swap begins")
        self.change("swap_two")
        second = self.put(server, "reload")
        self.assertIn("not ready within 1 s", first.answer()["error"])
        self.assertEqual(second.answer(), {"ok": True})
        self.check_serves(server, "two", 3)

    def test_reload_what_changed_waits(self):
        """It has ended when the new generation serves, as with a name."""
        server = self.serve_gated()
        self.change("swap_two")
        question = self.put(server, "refresh")
        self.wait_at_gate()
        for _ in range(3):
            self.assertEqual(self.plugin(server)["current"], 1)
        self.assertFalse(question.has_answer(), "the command ends before the swap")
        self.open_gate()
        self.assertEqual(question.answer(), {"ok": True, "configuration": {
            "applied": [], "restart": [], "warnings": []}})
        self.check_serves(server, "two", 2)

    def test_client_that_leaves_before_the_end(self):
        server, question = self.begin_slow_swap()
        question.socket.close()
        self.open_gate()
        self.wait_serves(server, "one", 2)

    def test_stop_during_a_swap(self):
        server, question = self.begin_slow_swap()
        server.signal(signal.SIGTERM)
        self.assertNotIn(b'"ok":true', question.read())
        server.check_end()

    def test_rollback_during_a_swap(self):
        server, question = self.begin_slow_swap()
        self.assertIn("a swap is under way", self.check_command_fails(server, "rollback", "swap"))
        self.open_gate()
        self.assertEqual(question.answer(), {"ok": True})

    def test_drain_during_a_swap(self):
        """The operator's last word counts."""
        server, question = self.begin_slow_swap()
        self.check_command(server, "drain", "swap")
        self.assertEqual(server.post("swap", {}).status, 503)
        self.open_gate()
        question.answer()
        wait_for(lambda: all(generation["state"] != "starting" for generation in
                             self.plugin(server)["generations"]), "the swap has ended")
        self.assertEqual(self.agent(server)["state"], "drained")


class ConfigurationTest(SwapTest):
    def test_changed_section(self):
        server = self.serve_swap(swap="swap_one", state="swap_state_one",
                                 config="[plugin swap]\nnote = first\n")
        self.assertEqual(self.run_of(server), (("one", 1), "first"))
        live = Live(self, server, STREAMS)
        write(server.config, b"[plugin swap]\nnote = second\n")
        self.hang_up(server)
        self.wait_serves(server, "one", 2)
        self.assertEqual(self.run_of(server)[1], "second")
        self.assertEqual(self.current(server, "swap_state"), ("one", 1))
        live.finish()
        live.check_made_by("one", 1)
        self.assertEqual(set(live.ticks.notes.values()), {"first"})

    def test_command_reads_it_too(self):
        server = self.serve_swap(swap="swap_one", config="[plugin swap]\nnote = first\n")
        write(server.config, b"[plugin swap]\nnote = second\n")
        self.check_command(server, "reload", says=b"applied:         plugin.swap.note\n")
        self.wait_serves(server, "one", 2)
        self.assertEqual(self.run_of(server)[1], "second")

    def test_setting_of_the_host(self):
        """Of a plugin, but not one of the author's: it is made anew as well."""
        server = self.serve_swap(swap="swap_one", config="")
        write(server.config, b"[plugin swap]\nworkers = 3\n")
        self.hang_up(server)
        self.wait_serves(server, "one", 2)
        self.wait_generations(server, 2)
        wait_for(lambda: [worker["state"] for worker in
                          self.plugin(server)["generations"][0]["workers"]] == ["serving"] * 3,
                 "three workers serve")

    def test_unchanged(self):
        server = self.serve_swap(swap="swap_one", config="[plugin swap]\nnote = first\n")
        write(server.config, b"; only a comment\n[host]\ndrain_timeout = 59\n"
                             b"[plugin swap]\nnote = first\n[plugin other]\nnote = any\n")
        for _ in range(2):
            self.hang_up(server)
        self.check_command(server, "reload", "swap")
        self.check_serves(server, "one", 2)

    def test_bad_file(self):
        server = self.serve_swap(swap="swap_one", config="[plugin swap]\nnote = first\n")
        live = Live(self, server, STREAMS)
        for text, word in (("[plugin swap\nnote = second\n", "config:1"),
                           ("[host]\nno_such_key = 1\n", "no_such_key"),
                           ("[plugin swap]\nnote = second\nthreads = many\n", "threads")):
            with self.subTest(text=text):
                write(server.config, text.encode())
                self.hang_up(server)
                lines = server.lines(" error front ", "configuration refused", word)
                self.assertEqual(len(lines), 1, server.lines("config"))
                self.assertIn(word, self.check_command_fails(server, "reload"))
                self.assertEqual(self.run_of(server), (("one", 1), "first"))
        os.remove(server.config)
        self.assertIn("No such file", self.check_command_fails(server, "reload"))
        self.assertEqual(self.run_of(server), (("one", 1), "first"))
        live.finish()

    def test_bad_file_does_not_hide_a_good_one(self):
        server = self.serve_swap(swap="swap_one", config="[plugin swap]\nnote = first\n")
        write(server.config, b"[plugin swap\n")
        self.hang_up(server)
        write(server.config, b"[plugin swap]\nnote = second\n")
        self.hang_up(server)
        self.wait_serves(server, "one", 2)
        self.assertEqual(self.run_of(server)[1], "second")

    def test_what_changes_only_at_the_start(self):
        server = self.serve_swap(swap="swap_one", config="")
        write(server.config, b"[host]\nmax_body = 14K\n")
        self.hang_up(server)
        self.assertEqual(len(server.lines("change only when the server starts again keys=host.max_body")), 1)
        self.check_serves(server, "one", 1)


class RollbackTest(SwapTest):
    def serve_two(self, **more):
        server = self.serve_swap(swap="swap_one", **more)
        self.rename(server, "swap_two")
        self.wait_serves(server, "two", 2)
        return server

    def test_without_its_file(self):
        """The version before is in no file any more."""
        server = self.serve_two()
        live = Live(self, server, STREAMS)
        self.check_command(server, "rollback", "swap")
        self.check_serves(server, "one", 3)
        live.finish()
        live.check_made_by("two", 2)

    def test_without_any_file(self):
        server = self.serve_two()
        os.remove(self.file(server))
        wait_for(lambda: server.post("swap", {"count": 0}).status == 404, "the agent is gone")
        self.check_command(server, "rollback", "swap")
        self.assertEqual(server.post("swap", {"count": 0}).status, 200)

    def test_twice_goes_further_back(self):
        """Never forward: the version that was rolled back from does not come back by itself."""
        server = self.serve_two()
        self.rename(server, "swap_one")
        self.wait_serves(server, "one", 3)
        self.check_command(server, "rollback", "swap")
        self.check_serves(server, "two", 4)
        self.check_command(server, "rollback", "swap")
        self.check_serves(server, "one", 5)
        self.assertEqual(self.check_command_fails(server, "rollback", "swap"),
                         "there was no generation before this one")
        self.check_serves(server, "one", 5)

    def test_to_a_named_generation(self):
        """By the number of any generation that served the version."""
        server = self.serve_two()
        self.rename(server, "swap_one")
        self.wait_serves(server, "one", 3)
        for named, version, generation in ((1, "one", 4), (2, "two", 5), (4, "one", 6),
                                           (3, "one", 7), (5, "two", 8)):
            self.check_command(server, "rollback", "swap", str(named))
            self.check_serves(server, version, generation)
            self.assertEqual(self.plugin(server)["pinned"], {1: 1, 2: 2, 4: 1, 3: 3, 5: 2}[named])
        self.assertIn("pinned to the version of generation 2",
                      self.command(server, "list").stdout.decode())
        self.assertIn("that generation is not kept",
                      self.check_command_fails(server, "rollback", "swap", "99"))
        self.check_command(server, "reload", "swap")
        self.check_serves(server, "one", 9)
        self.assertNotIn("pinned", self.plugin(server))

    def test_as_many_as_are_kept(self):
        server = self.serve_swap(swap="swap_one")
        for n in range(2, 8):
            self.rename(server, ("swap_one", "swap_two")[n % 2 == 0])
            self.wait_serves(server, ("one", "two")[n % 2 == 0], n)
        self.assertEqual([kept["generation"] for kept in self.plugin(server)["kept"]],
                         [3, 4, 5, 6, 7])
        self.check_command(server, "rollback", "swap", "3")
        self.check_serves(server, "one", 8)

    def test_nothing_before(self):
        server = self.serve_swap(swap="swap_one")
        self.assertEqual(self.check_command_fails(server, "rollback", "swap"),
                         "there was no generation before this one")
        self.check_serves(server, "one", 1)

    def test_refused_versions_are_none_before(self):
        """What never served is not what one rolls back to."""
        server = self.serve_two()
        self.rename(server, "swap_bad_create")
        wait_for(lambda: self.last_error(server), "the bad version is refused")
        self.check_command(server, "rollback", "swap")
        self.assertEqual(self.current(server)[0], "one")
        self.assertIsNone(self.last_error(server))

    def test_out_of_a_crash_loop(self):
        server = self.serve_swap(swap="swap_one")
        self.rename(server, "swap_bad_run")
        wait_for(lambda: self.current(server) == ("bad", 2), "the bad version serves")

        def crash():
            answer = server.post("swap", {})
            return answer.status == 503

        wait_for(crash, "it is in a crash loop")
        self.assertEqual(self.agent(server)["state"], "crash-loop")
        self.check_command(server, "rollback", "swap")
        self.check_serves(server, "one", 3)
        self.assertIsNone(self.last_error(server))
        self.wait_generations(server, 3)

    def test_stays_when_another_setting_changes(self):
        """The file in the folder, which was rolled back from, did not change."""
        server = self.serve_two(config="", state="swap_state_one")
        self.check_command(server, "rollback", "swap")
        write(server.config, b"[plugin swap_state]\nsave = none\n")
        self.hang_up(server)
        wait_for(lambda: self.current(server, "swap_state") == ("one", 2), "the other is new")
        self.check_command(server, "reload")
        self.wait_generations(server, 3)
        self.check_serves(server, "one", 3)

    def test_new_file_after_it(self):
        server = self.serve_two()
        self.check_command(server, "rollback", "swap")
        self.rename(server, "swap_two")
        self.wait_serves(server, "two", 4)
        self.check_command(server, "rollback", "swap")
        self.check_serves(server, "one", 5)

    def test_over_a_drain(self):
        """The version before is the one that served before, drained or not."""
        server = self.serve_swap(swap="swap_one")
        self.check_command(server, "drain", "swap")
        self.rename(server, "swap_two")
        wait_for(lambda: self.current(server) == ("two", 2), "the new version serves")
        self.check_command(server, "rollback", "swap")
        self.check_serves(server, "one", 3)


class DrainTest(SwapTest):
    def serve_drained(self, **more):
        server = self.serve_swap(swap="swap_one", **more)
        self.live = Live(self, server, STREAMS)
        self.check_command(server, "drain", "swap")
        return server

    def check_drained(self, server):
        answer = server.post("swap", {})
        self.check_problem(answer, 503, "Service Unavailable",
                           "the agent 'swap' is not available: its operator drained it")
        self.assertEqual(self.agent(server)["state"], "drained")
        self.assertEqual(self.plugin(server)["state"], "drained")

    def test_live_runs_finish(self):
        server = self.serve_drained()
        self.check_drained(server)
        self.live.read_on()
        self.live.finish()
        self.wait_generations(server)
        self.assertEqual(server.workers(), [])
        self.check_drained(server)

    def test_reload_ends_it(self):
        server = self.serve_drained()
        self.check_command(server, "reload", "swap")
        self.check_serves(server, "one", 2)
        self.assertIsNone(self.last_error(server))
        self.live.finish()
        self.live.check_made_by("one", 1)

    def test_new_file_ends_it(self):
        server = self.serve_drained()
        self.rename(server, "swap_two")
        wait_for(lambda: self.current(server) == ("two", 2), "the new version serves")
        self.check_serves(server, "two", 2)
        self.live.finish()

    def test_refused_version_does_not_end_it(self):
        server = self.serve_drained()
        self.rename(server, "swap_bad_create")
        wait_for(lambda: "refused at create" in self.last_error(server), "the version is refused")
        self.check_drained(server)
        self.live.finish()

    def test_file_that_goes_and_comes_back(self):
        """A removed plugin, drained before or after, serves again with its file."""
        server = self.serve_drained()
        os.remove(self.file(server))
        wait_for(lambda: self.plugin(server)["state"] == "removed", "the file is missed")
        self.check_command(server, "drain", "swap")
        self.assertEqual(self.plugin(server)["state"], "removed")
        self.assertEqual(server.get("/agents").json(), {"agents": []})
        self.assertEqual(server.post("swap", {}).status, 404)
        self.rename(server, "swap_two")
        wait_for(lambda: self.plugin(server)["state"] == "serving", "the new file serves")
        self.check_serves(server, "two", 2)
        self.live.finish()

    def test_nothing_else_ends_it(self):
        server = self.serve_drained(config="")
        self.hang_up(server)
        self.check_command(server, "reload")
        self.check_drained(server)
        self.live.finish()
        self.wait_generations(server)
        self.hang_up(server)
        self.check_drained(server)

    def test_timeout(self):
        """What does not end in time fails; until then list says when that will be."""
        server = self.serve_swap(swap="swap_one", settings={"host.drain_timeout": 2})
        live = Live(self, server, 5)
        self.rename(server, "swap_two")
        self.wait_serves(server, "two", 2)
        worker = self.plugin(server)["generations"][0]["workers"][0]
        self.assertEqual((worker["state"], len(worker["runs"])), ("draining", 5))
        self.assertIn(worker["drain_left_s"], (0, 1, 2))
        self.assertRegex(self.command(server, "list").stdout.decode(),
                         r"\n    held by:( \w{26,}){5}; they end at the drain deadline in [012] s\n")
        live.swarm.finish()
        for stream in live.swarm.streams:
            self.assertEqual(stream.parser.done["error"]["code"], "drain_timeout")
        self.wait_generations(server, 2)
        self.assertEqual(len(server.lines(" warn ", "runs ended at the drain deadline",
                                          "plugin=swap", "generation=1", "runs=5")), 1)


class StateTest(SwapTest):
    AGENT = "swap_state"

    def count(self, server):
        """One more run: the number of runs, the version, and what create() was given."""
        event = next(event for event in server.run(self.AGENT, {}) if event.type == "count").json()
        return event["runs"], event["version"], event["from"]

    def swap(self, server, plugin, generation):
        self.rename(server, plugin, "state")
        wait_for(lambda: self.current(server, self.AGENT)[1] == generation,
                 f"generation {generation} is current")

    def test_survives_swaps_and_rollback(self):
        server = self.serve_swap(state="swap_state_one")
        self.assertEqual(self.count(server), (1, "one", None))
        self.assertEqual(self.count(server), (2, "one", None))
        self.swap(server, "swap_state_two", 2)
        self.assertEqual(self.count(server), (3, "two", {"runs": 2, "by": "one"}))
        self.swap(server, "swap_state_one", 3)
        self.assertEqual(self.count(server), (4, "one", {"runs": 3, "by": "two"}))
        self.check_command(server, "rollback", self.AGENT)
        self.assertEqual(self.count(server), (5, "two", {"runs": 4, "by": "one"}))

    def test_survives_a_refused_version(self):
        """The old generation, which has saved its state, goes on with it."""
        server = self.serve_swap(state="swap_state_one")
        self.count(server)
        self.rename(server, "swap_bad_create", "state")
        wait_for(lambda: self.last_error(server, self.AGENT), "the bad version is refused")
        self.assertEqual(self.count(server), (2, "one", None))
        self.swap(server, "swap_state_two", self.next_generation(server))
        self.assertEqual(self.count(server), (3, "two", {"runs": 2, "by": "one"}))

    def next_generation(self, server):
        """What the next swap makes; the refused ones are counted."""
        return 1 + max(int(number) for number in re.findall(r"generation=(\d+)", server.log()))

    def test_worker_that_restarts_gets_it_again(self):
        server = self.serve_swap(state="swap_state_one")
        self.count(server)
        self.swap(server, "swap_state_two", 2)
        pid = self.plugin(server, self.AGENT)["generations"][-1]["workers"][0]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.plugin(server, self.AGENT)["generations"][-1]["restarts"] == 1,
                 "the worker is restarted")
        self.assertEqual(self.count(server), (2, "two", {"runs": 1, "by": "one"}))

    def open_live(self, server):
        until = self.path("until")
        swarm = Swarm(server.address)
        self.addCleanup(swarm.close)
        for _ in range(STREAMS):
            swarm.add(self.AGENT, {"until": until})
        swarm.until(lambda: all(stream.parser.count > 3 for stream in swarm.streams), "all tick")
        return swarm, until

    def check_lost_state(self, save, settings=None):
        """A state that cannot be had: the swap goes on without. Returns host and old streams."""
        server = self.serve_swap(state="swap_state_one",
                                 settings={"plugin.swap_state.save": save, **(settings or {})})
        swarm, until = self.open_live(server)
        self.swap(server, "swap_state_two", 2)
        self.assertEqual(self.count(server), (1, "two", None))
        write(until, b"")
        swarm.finish()
        return server, [stream.parser.done for stream in swarm.streams]

    def test_none(self):
        _, ends = self.check_lost_state("none")
        self.assertEqual(ends, [{"status": "finished"}] * STREAMS)

    def test_garbage(self):
        server, ends = self.check_lost_state("garbage")
        self.assertEqual(ends, [{"status": "finished"}] * STREAMS)
        self.assertEqual(len(server.lines("save_state() returned what is not JSON",
                                          "plugin=swap_state")), 1)

    def test_too_large(self):
        server, ends = self.check_lost_state("large")
        self.assertEqual(ends, [{"status": "finished"}] * STREAMS)
        self.assertEqual(len(server.lines("save_state() returned ", " bytes, and a state may have 1048576",
                                          "plugin=swap_state")), 1)

    def test_crash(self):
        """It takes the old generation's runs along, and nothing else."""
        server, ends = self.check_lost_state("crash")
        self.assertEqual({(end["status"], end["error"]["code"]) for end in ends},
                         {("failed", "worker_crashed")})
        self.wait_generations(server, 2, name=self.AGENT)

    def test_hang(self):
        server, ends = self.check_lost_state("hang", {"host.stuck_timeout": 1})
        self.assertEqual({(end["status"], end["error"]["code"]) for end in ends},
                         {("failed", "worker_stuck")})
        self.assertEqual(len(server.lines("state not saved in time")), 1)
        self.wait_generations(server, 2, name=self.AGENT)


class LimitTest(SwapTest):
    def serve_full(self):
        """As many generations live as may: 1 and 2, both with streams."""
        server = self.serve_swap(swap="swap_one", settings={"host.max_generations": 2})
        self.old = Live(self, server, 5)
        self.rename(server, "swap_two")
        self.wait_serves(server, "two", 2)
        self.new = Live(self, server, 5)
        return server

    def check_full(self, server):
        self.assertEqual(self.current(server), ("two", 2))
        runs = {stream.parser.run for stream in self.old.swarm.streams}
        begin = ("2 generations are live; the swap waits until one has drained; "
                 "generation 1 has 5 runs: ")
        self.assertTrue(self.last_error(server).startswith(begin), self.last_error(server))
        self.assertEqual(set(self.last_error(server)[len(begin):].split()), runs)
        self.assertTrue(self.plugin(server)["swap_waits"])
        self.assertEqual(set(self.plugin(server)["generations"][0]["workers"][0]["runs"]), runs)
        self.assertEqual(len(server.workers()), 2)
        self.old.read_on()
        self.new.read_on()

    def finish(self, server, generation):
        self.wait_generations(server, 2, generation)
        self.assertIsNone(self.last_error(server))
        self.assertNotIn("swap_waits", self.plugin(server))
        self.new.finish()
        self.new.check_made_by("two", 2)
        self.old.check_made_by("one", 1)

    def test_third_swap_waits(self):
        server = self.serve_full()
        self.rename(server, "swap_one")
        wait_for(lambda: self.last_error(server), "the swap has to wait")
        self.check_full(server)
        self.old.finish()
        self.wait_serves(server, "one", 3)
        self.finish(server, 3)

    def test_command_says_so(self):
        server = self.serve_full()
        self.assertIn("the swap waits", self.check_command_fails(server, "reload", "swap"))
        self.check_full(server)
        self.old.finish()
        self.wait_serves(server, "two", 3)
        self.finish(server, 3)

    def test_rollback_that_waits_is_one(self):
        """It may be refused at once or happen later, but it is no reload."""
        server = self.serve_full()
        self.check_command_fails(server, "rollback", "swap")
        self.check_full(server)
        self.old.finish()
        self.wait_settled(server, lambda: None)
        wait_for(lambda: not any(generation["state"] == "starting" for generation in
                                 self.plugin(server)["generations"]), "no swap is under way")
        self.assertIn(self.current(server), (("two", 2), ("one", 3)))
        self.new.finish()


def half(data):
    return data[:len(data) // 2]


def without_middle(data):
    """The header and the section table are there, all between is zero."""
    return data[:64] + bytes(len(data) - 128) + data[-64:]


def other_machine(data):
    return data[:18] + b"\x28\x00" + data[20:]


class BadVersionTest(SwapTest):
    """Each way a new version can be bad, under live streams."""

    CRASH = ("exited with",) if SANITIZED else ("SIGSEGV (invalid address 0x0)",)

    def setUp(self):
        super().setUp()
        self.server = self.serve_swap(swap="swap_one", plugins=("ticker",),
                                      settings={"host.start_timeout": 1})
        self.live = Live(self, self.server, STREAMS)

    def check_bad(self, data, *words):
        """data: the plugin's name, or what the file holds."""
        server = self.server
        if isinstance(data, str):
            data = read(plugin_path(data))
        temporary = self.path("temporary")
        write(temporary, data)
        os.rename(temporary, self.file(server))
        wait_for(lambda: self.last_error(server), "the version is refused")
        reason = self.last_error(server)
        self.check_old_serves()
        lines = server.lines(" error front ", "plugin refused, the old version keeps serving: ", reason,
                             "file=" + self.file(server))
        self.assertEqual(len(lines), 1, server.lines("refused"))
        self.assertEqual(self.check_command_fails(server, "reload", "swap"), reason)
        self.assertEqual(self.listed(server)["swap"]["last_error"], reason)
        shown = self.command(server, "list").stdout.decode()
        self.assertIn(f"\n    last error: {reason}\n", shown)
        self.check_old_serves()
        for word in words + ("swap.so",):
            self.assertIn(word, reason)

    def check_old_serves(self):
        self.assertEqual(self.plugin(self.server)["state"], "serving")
        self.check_serves(self.server, "one", 1)
        self.live.read_on()
        self.wait_generations(self.server, 1)

    def tearDown(self):
        """What is good comes through afterwards, and no event was lost meanwhile."""
        self.rename(self.server, "swap_two")
        wait_for(lambda: self.current(self.server)[0] == "two", "the good version serves")
        self.assertIsNone(self.last_error(self.server))
        self.live.read_on()
        self.live.finish()
        self.live.check_made_by("one", 1)
        wait_for(lambda: len(self.server.workers()) == 2, "the good version and ticker are left")
        super().tearDown()

    def test_wrong_abi(self):
        self.check_bad("fault_abi", "refused at abi", "ABI 7.3", "wanted is 1.0")

    def test_no_entry(self):
        self.check_bad("fault_entry", "refused at entry", "agent_plugin_entry", "AGENT_PLUGIN")

    def test_missing_symbol(self):
        self.check_bad("fault_symbol", "refused at open", "fault_symbol_that_is_missing")

    def test_truncated(self):
        self.check_bad(half(read(plugin_path("swap_two"))), "is not whole")

    def test_empty(self):
        self.check_bad(b"", "is not whole: it has 0 bytes")

    def test_not_elf(self):
        self.check_bad(b"#!/bin/sh\nexit 0\n" * 200, "is not a shared object (ELF)")

    def test_not_elf_and_short(self):
        """It may be the beginning of anything."""
        self.check_bad(b"hello\n", "is not whole: it has 6 bytes")

    def test_damaged(self):
        self.check_bad(without_middle(read(plugin_path("swap_two"))), "refused at open")

    def test_other_machine(self):
        self.check_bad(other_machine(read(plugin_path("swap_two"))), "built for 64-bit ARM")

    def test_program(self):
        self.check_bad(read("/bin/true"), "refused at open")

    def test_create_fails(self):
        self.check_bad("swap_bad_create", "refused at create", "No such file or directory",
                       "the model tiny is not there")

    def test_selftest_fails(self):
        self.check_bad("swap_bad_selftest", "refused at selftest", "the answer was 41")

    def test_crash_in_constructor(self):
        self.check_bad("fault_constructor", *self.CRASH, "loading")

    def test_crash_in_create(self):
        self.check_bad("swap_bad_crash", *self.CRASH, "create")

    def test_hang_in_create(self):
        self.check_bad("swap_bad_hang", "not ready within 1 s", "create()")

    def test_other_name(self):
        self.check_bad("swap_state_one", "holds the plugin 'swap_state' now, it held 'swap'")

    def test_name_of_another_agent(self):
        self.check_bad("ticker", "holds the plugin 'ticker' now, it held 'swap'")
        events = self.server.run("ticker", {"count": 3, "period_ms": 1})
        self.assertEqual(types(events), ["run", "tick", "tick", "tick", "done"])

    def test_new_file_with_the_name_of_another_agent(self):
        self.rename(self.server, "swap_two", "intruder")
        wait_for(lambda: self.server.lines("plugin refused", "file=" +
                                           self.file(self.server, "intruder")), "it is refused")
        self.assertEqual(self.plugin(self.server, "intruder")["last_error"],
                         f"the name 'swap' is already that of the plugin in {self.file(self.server)}")
        self.check_old_serves()
        os.remove(self.file(self.server, "intruder"))
        self.wait_generations(self.server, 1)

    def test_many_in_a_row(self):
        """They leave nothing behind."""
        front = self.server.process.pid
        self.check_bad("swap_bad_create", "refused at create")

        def files():
            return len(os.listdir(f"/proc/{front}/fd"))

        before = wait_for(lambda: len(self.server.pids()) == 3 and files(), "it is quiet")
        for plugin in ("swap_bad_create", "swap_bad_crash", "fault_entry", "swap_state_one") * 8:
            self.rename(self.server, plugin)
            self.check_command_fails(self.server, "reload", "swap")
        self.check_old_serves()
        wait_for(lambda: len(self.server.pids()) == 3 and files() <= before,
                 "no process or descriptor is left")


class ListTest(SwapTest):
    def row(self, text, *begin):
        rows = [row for row in map(str.split, text.splitlines()) if row[:len(begin)] == list(begin)]
        self.assertEqual(len(rows), 1, text)
        return rows[0]

    def listing(self, server):
        ended = self.command(server, "list")
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))
        return ended.stdout.decode()

    def test_columns(self):
        server = self.serve_swap(swap="swap_one", state="swap_state_one",
                                 config="[plugin swap_state]\nworkers = 2\n")
        live = Live(self, server, 3)
        self.rename(server, "swap_two")
        self.wait_serves(server, "two", 2)
        wait_for(lambda: all(worker["memory"] > 0 for plugin in self.listed(server).values()
                             for generation in plugin["generations"]
                             for worker in generation["workers"]), "the memory is known")
        text = self.listing(server)
        plugins = self.listed(server)
        self.assertEqual(text.splitlines()[0],
                         f"server pid {server.process.pid}, listening on http://127.0.0.1:"
                         f"{server.address[1]}, plugins in {server.plugin_folder}")
        text = text.split("\n", 1)[1]
        self.assertEqual(text.splitlines()[0].split(), ["PLUGIN", "VERSION", "GEN", "STATE", "PID",
                                                        "RUNS", "RESTARTS", "MEMORY", "AGE"])
        self.assertEqual(len(text.splitlines()), 1 + 4 + 1 + 1)
        runs = next(line.split(":")[1].split() for line in text.splitlines() if "held by:" in line)
        self.assertEqual(set(runs), {stream.parser.run for stream in live.swarm.streams})
        self.assertEqual(text.splitlines()[-1], f"folder {server.plugin_folder}: watched")
        pids = [worker["pid"] for plugin in plugins.values()
                for generation in plugin["generations"] for worker in generation["workers"]]
        self.assertEqual(sorted(pids), sorted(server.workers()))
        for version, generation, state, runs in (("one", "1", "draining", "3"),
                                                 ("two", "2", "serving", "0")):
            row = self.row(text, "swap", version)
            worker = plugins["swap"]["generations"][int(generation) - 1]["workers"][0]
            self.assertEqual(row[2:7], [generation, state, str(worker["pid"]), runs, "0"])
            self.assertRegex(row[7], r"^\d+\.\dM$")
            self.assertRegex(row[8], r"^\d+s$")
            self.assertGreater(worker["memory"], 1 << 19)
        live.finish()

    def test_restarts(self):
        server = self.serve_swap(swap="swap_one")
        os.kill(server.workers()[0], signal.SIGKILL)
        wait_for(lambda: self.plugin(server)["generations"][0]["restarts"] == 1 and
                 self.plugin(server)["generations"][0]["workers"], "the worker is restarted")
        self.check_serves(server, "one", 1)
        row = self.row(self.listing(server), "swap", "one")
        self.assertEqual((row[3], row[6]), ("serving", "1"))
        self.assertIn("killed by signal 9", self.listed(server)["swap"]["generations"][0]["reason"])

    def test_age(self):
        server = self.serve_swap(swap="swap_one")
        wait_for(lambda: self.plugin(server)["generations"][0]["workers"][0]["age_s"] >= 2,
                 "it gets older")
        self.assertRegex(self.row(self.listing(server), "swap")[8], r"^[2-9]s$|^\d\d+s$")

    def test_queued_runs_and_current(self):
        server = self.serve_swap(swap="swap_one")
        plugin = self.listed(server)["swap"]
        self.assertEqual((plugin["file"], plugin["state"]), (self.file(server), "serving"))
        self.assertEqual((plugin["current"], plugin["queued_runs"]), (1, 0))

    def test_without_plugins(self):
        server = self.serve_swap()
        self.assertEqual(len(self.listing(server).splitlines()), 1 + 1 + 1)
        self.assertEqual(self.listed(server), {})

    def test_refused_at_the_start(self):
        server = self.serve_swap(bad="fault_abi")
        text = self.listing(server)
        self.assertEqual(self.row(text, "bad"), ["bad", "-", "-", "refused"])
        self.assertRegex(text, r"\n    last error: refused at abi: .*bad\.so")

    def test_strange_words(self):
        """What a plugin calls itself is shown, not obeyed by the terminal."""
        server = self.serve_swap(**{"a\x1b[31mb": "fault_entry"})
        ended = self.command(server, "list")
        self.assertEqual(ended.returncode, 0)
        self.assertNotIn(b"\x1b", ended.stdout)


class SocketTest(SwapTest):
    """The operators' socket, and who else may come to it."""

    def check_works(self, server):
        self.assertIn("swap", self.listed(server))
        self.check_serves(server, "one", 1)

    def test_mode(self):
        mask = os.umask(0)
        try:
            server = self.serve_swap(swap="swap_one")
        finally:
            os.umask(mask)
        found = os.stat(server.admin)
        self.assertTrue(stat.S_ISSOCK(found.st_mode))
        self.assertEqual(stat.S_IMODE(found.st_mode), 0o600)

    def test_is_gone_with_the_server(self):
        server = self.serve_swap(swap="swap_one")
        server.stop()
        self.assertFalse(os.path.exists(server.admin))

    def test_default_path(self):
        runtime = self.path("runtime")
        os.mkdir(runtime, 0o700)
        env = {"XDG_RUNTIME_DIR": runtime}
        server = self.prepare("ticker", env=env)
        server.start()
        folder = os.path.join(runtime, "sluice")
        wait_for(lambda: os.path.exists(os.path.join(folder, "admin.sock")), "the socket is there")
        self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o700)
        ended = run_sluice("list", "--json", env=env)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertEqual(json.loads(ended.stdout)["plugins"][0]["name"], "ticker")

    def test_left_by_one_that_was_killed(self):
        server = self.serve_swap(swap="swap_one")
        server.kill()
        server.is_stopped = True
        self.assertTrue(os.path.exists(server.admin))
        self.check_works(self.serve_again(server.admin))

    def serve_again(self, admin):
        """A host on the socket of another one."""
        server = self.prepare_swap(swap="swap_one", settings={"host.admin": admin})
        server.admin = admin
        server.start()
        return server

    def test_second_server(self):
        """It neither takes the socket nor goes without: operators would ask the wrong one."""
        first = self.serve_swap(swap="swap_one")
        second = self.prepare_swap(swap="swap_one", settings={"host.admin": first.admin})
        second.start_process()
        self.assertEqual(second.wait(), 1)
        second.is_stopped = True
        self.assertEqual(second.lines("cannot open the admin socket")[-1],
                         f"sluice: cannot open the admin socket {first.admin}: the server with pid "
                         f"{first.process.pid} has it; name another with host.admin")
        self.check_command(first, "reload", "swap")
        self.check_serves(first, "one", 2)

    def test_many_start_at_once_on_one_socket(self):
        servers = [self.prepare_swap(swap="swap_one", settings={"host.admin": self.path("one.sock")})
                   for _ in range(4)]
        for server in servers:
            server.start_process()
        wait_for(lambda: sum(not server.is_alive() for server in servers) == 3, "three give up")
        last, = [server for server in servers if server.is_alive()]
        for server in servers:
            server.is_stopped = server is not last
        wait_for(last.find_address, "one serves")
        last.admin = self.path("one.sock")
        self.assertEqual(json.loads(run_sluice("list", "--json", "--admin", last.admin).stdout)
                         ["server"]["pid"], last.process.pid)
        last.stop()
        self.assertEqual([name for name in os.listdir(self.folder) if "one.sock" in name], [])

    def test_two_with_defaults(self):
        """Each has a socket; no command guesses which server is meant."""
        runtime = self.path("runtime")
        os.mkdir(runtime, 0o700)
        env = {"XDG_RUNTIME_DIR": runtime}
        first, second = (self.prepare("ticker", env=env) for _ in range(2))
        for server in (first, second):
            server.start()
        sockets = [f"{runtime}/sluice/admin.sock",
                   f"{runtime}/sluice/admin-{second.address[1]}.sock"]
        ended = run_sluice("drain", "ticker", env=env)
        self.assertEqual((ended.returncode, ended.stdout), (1, b""))
        for server, path in zip((first, second), sockets):
            self.assertIn(f"  --admin {path}   (pid {server.process.pid})", ended.stderr.decode())
            told = json.loads(run_sluice("list", "--json", "--admin", path).stdout)["server"]
            self.assertEqual(told, {"pid": server.process.pid,
                                    "listen": "http://127.0.0.1:%d" % server.address[1],
                                    "plugins": server.plugin_folder, "admin": path})

    def test_configuration_names_it(self):
        server = self.serve_swap(swap="swap_one", settings={"host.admin": self.path("here.sock")})
        server.admin = self.path("here.sock")
        write(self.path("sluice.ini"), f"[host]\nadmin = {server.admin}\n".encode())
        for args in (("list",), ("reload",), ("reload", "swap"), ("drain", "swap")):
            ended = run_sluice(args[0], "-c", self.path("sluice.ini"), *args[1:])
            self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertEqual(self.plugin(server)["state"], "drained")
        ended = run_sluice("list", "-c", "/none.ini")
        self.assertEqual((ended.returncode, ended.stdout), (1, b""))
        self.assertIn(b"/none.ini", ended.stderr)

    def test_plugins_are_no_operators(self):
        server = self.serve("e2e_doors")
        question = '{"command":"drain","name":"e2e_doors"}'
        answer = server.post("e2e_doors", {"door": "socket", "path": server.admin, "text": question},
                             "?mode=wait").json()
        self.assertNotIn('"ok":true', json.dumps(answer))
        self.assertTrue(server.lines(" plugin ", "admin connection refused"))
        self.assertEqual(server.report()["e2e_doors"]["state"], "serving")

    def check_refused_path(self, path):
        """It is said, and the server serves."""
        server = self.serve_again(path)
        wait_for(lambda: server.lines("admin socket not opened", path), "it is said")
        self.check_serves(server, "one", 1)
        server.stop()

    def test_path_in_no_folder(self):
        self.check_refused_path(self.path("none/of/these"))

    def test_path_of_a_folder(self):
        self.check_refused_path(self.folder)

    def test_path_of_a_file(self):
        """The file is somebody's, and stays as it is."""
        path = self.path("regular")
        write(path, b"precious")
        self.check_refused_path(path)
        self.assertTrue(os.path.isfile(path))
        self.assertEqual(read(path), b"precious")

    def test_path_that_is_too_long(self):
        """It is not cut to one that is not."""
        os.mkdir(self.path("long"))
        server = self.serve_again(os.path.join(self.path("long"), "l" * 120))
        self.assertEqual(os.listdir(self.path("long")), [])
        self.assertEqual(len(server.lines("admin socket not opened")), 1)
        self.check_serves(server, "one", 1)

    GARBAGE = (b"\n", b"{}\n", b"[]\n", b"null\n", b"7\n", b"\xff\xfe\x00\n", b"list\n",
               b'{"command":7}\n', b'{"command":"nothing"}\n', b'{"command":"reload"}\n',
               b'{"command":"reload","name":7}\n', b'{"command":"drain","name":null}\n',
               b'{"command":"reload","name":"' + b"n" * 3000 + b'"}\n', b"[" * 4000 + b"\n",
               b'{"command":"worker","name":"swap"}\n', b"GET / HTTP/1.1\r\n\r\n",
               b"\0" * 100 + b"\n")

    def test_garbage(self):
        server = self.serve_swap(swap="swap_one")
        for data in self.GARBAGE:
            with self.subTest(data=data[:60]), Question(server, None) as question:
                question.send(data)
                answer = question.answer()
                self.assertIs(answer["ok"], False)
                self.assertTrue(answer["error"])
        self.check_works(server)

    def test_more_than_a_line(self):
        """The first one counts."""
        server = self.serve_swap(swap="swap_one")
        with Question(server, None) as question:
            question.send(b'{"command":"list"}\n{"command":"drain","name":"swap"}\n')
            self.assertTrue(question.answer()["ok"])
        self.check_works(server)

    def test_line_in_pieces(self):
        server = self.serve_swap(swap="swap_one")
        with Question(server, None) as question:
            for byte in b'{"command":"list"}\n':
                question.send(bytes([byte]))
            self.assertTrue(question.answer()["ok"])

    def test_endless_line(self):
        server = self.serve_swap(swap="swap_one")
        with Question(server, None) as question:
            try:
                for _ in range(1000):
                    question.send(b"x" * 4096)
                self.fail("it reads without end")
            except (BrokenPipeError, ConnectionResetError):
                pass
        self.check_works(server)

    def test_clients_that_leave(self):
        server = self.serve_swap(swap="swap_one")
        for data in (b"", b'{"comm', b'{"command":"list"}', b'{"command":"list"}\n',
                     b'{"command":"reload","name":"nobody"}\n'):
            for _ in range(20):
                with Question(server, None) as question:
                    question.send(data)
            self.check_works(server)  # it has seen them leave, so there is room for more

    def test_many_connections(self):
        """Those that say nothing keep no operator out: the oldest makes room."""
        server = self.serve_swap(swap="swap_one")
        held = [Question(server, None) for _ in range(64)]
        live = Live(self, server, 5)
        self.assertEqual(self.command(server, "list").returncode, 0)
        live.read_on()
        self.assertIs(held[0].answer()["ok"], False)
        held[-1].socket.setblocking(False)
        with self.assertRaises(BlockingIOError):
            held[-1].socket.recv(1)
        for question in held:
            question.socket.close()
        live.finish()
        self.check_works(server)


class CommandTest(SwapTest):
    COMMANDS = (("list",), ("reload",), ("reload", "swap"), ("rollback", "swap"), ("drain", "swap"))

    def test_help(self):
        for command in ("list", "reload", "rollback", "drain"):
            for option in ("--help", "-h"):
                ended = run_sluice(command, option)
                self.assertEqual((ended.returncode, ended.stderr), (0, b""))
                text = ended.stdout.decode()
                self.assertTrue(text.startswith(f"usage: sluice {command} [OPTION]..."), text)
                self.assertIn("--admin PATH", text)
                self.assertTrue(all(len(line) <= 80 for line in text.splitlines()), text)
            self.assertIn(f"\n  {command} ", run_sluice("--help").stdout.decode())

    def test_misuse(self):
        for args in (("list", "swap"), ("rollback",), ("drain",), ("reload", "a", "b"),
                     ("list", "--nonsense"), ("drain", "--admin"), ("rollback", "a", "b")):
            with self.subTest(args=args):
                ended = run_sluice(*args)
                self.assertEqual((ended.returncode, ended.stdout), (2, b""))
                self.assertIn(f"try: sluice {args[0]} --help\n", ended.stderr.decode())

    def test_without_a_server(self):
        stale = self.path("stale")
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(stale)
        for path, why in ((self.path("none"), "No such file"), (stale, "Connection refused"),
                          (self.path("x" * 200), "too long")):
            for command in self.COMMANDS:
                with self.subTest(path=path[-20:], command=command):
                    ended = run_sluice(command[0], "--admin", path, *command[1:])
                    self.assertEqual((ended.returncode, ended.stdout), (1, b""))
                    message = ended.stderr.decode()
                    self.assertRegex(message, r"^sluice: [^\n]+\n$")
                    self.assertIn(path, message)
                    self.assertIn(why, message)

    def test_default_path_without_a_server(self):
        ended = run_sluice("list", env={"XDG_RUNTIME_DIR": self.folder})
        self.assertEqual(ended.returncode, 1)
        self.assertIn(f"{self.folder}/sluice/admin.sock", ended.stderr.decode())

    def answer_with(self, data):
        """What a command says when something else answers at the socket."""
        path = self.path("fake")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()

            def serve():
                client = listener.accept()[0]
                client.recv(4096)
                client.sendall(data)
                client.close()

            thread = threading.Thread(target=serve)
            thread.start()
            ended = run_sluice("list", "--admin", path)
            thread.join()
        os.remove(path)
        return ended

    def test_answers_that_are_none(self):
        for data in (b"", b"garbage\n", b"{}\n", b"null\n", b'{"ok":true', b'{"ok":false}\n'):
            with self.subTest(data=data):
                ended = self.answer_with(data)
                self.assertEqual((ended.returncode, ended.stdout), (1, b""))
                self.assertRegex(ended.stderr.decode(), r"^sluice: [^\n]+\n$")

    def test_stop_during_a_command(self):
        """A command that waits is told of it, in one way or another."""
        gate = self.path("gate")
        write(gate, b"")
        server = self.serve_swap(swap="swap_one", settings={"plugin.swap.gate": gate})
        os.remove(gate)
        os.remove(gate + ".reached")
        ended = []
        thread = threading.Thread(target=lambda: ended.append(
            self.command(server, "reload", "swap")))
        thread.start()
        wait_for(lambda: os.path.exists(gate + ".reached"), "create() waits")
        server.signal(signal.SIGTERM)
        thread.join()
        self.assertEqual(ended[0].returncode, 1)
        self.assertRegex(ended[0].stderr.decode(), r"^sluice: the server is (gone|stopping)\n$")
        server.check_end()


if __name__ == "__main__":
    main()
