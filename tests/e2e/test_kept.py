#!/usr/bin/python3
"""What an operator wished of a plugin holds over restarts: rollbacks and drains."""

import json
import os
import signal
import stat

from harness import main, wait_for
from swapping import Live, SwapTest, write


class KeptTest(SwapTest):
    def restart(self, server, how="stop"):
        if how == "stop":
            server.stop()
        else:
            server.signal(signal.SIGKILL)
            server.process.wait()
            wait_for(lambda: not server.pids(), "the workers are gone")
        server.is_stopped = False
        server.start()

    def state(self, server, name="swap"):
        folder = os.path.join(server.plugin_folder, ".sluice", name)
        with open(os.path.join(folder, "state"), encoding="utf-8") as file:
            return json.load(file), sorted(os.listdir(folder))

    def wait_kept(self, server, name="swap", **wanted):
        """Waits until the disk has it."""
        def kept():
            try:
                state, files = self.state(server, name)
            except FileNotFoundError:
                return False
            return all(state[key] == value for key, value in wanted.items()) and files == sorted(
                ["state"] + [f"{version['generation']}.so" for version in state["versions"]])
        wait_for(kept, f"{wanted} is on disk")

    def serve_rolled_back(self, **more):
        server = self.serve_swap(swap="swap_one", **more)
        self.rename(server, "swap_two")
        self.wait_serves(server, "two", 2)
        self.check_command(server, "rollback", "swap")
        self.check_serves(server, "one", 3)
        return server

    def test_rollback(self):
        server = self.serve_rolled_back()
        self.wait_kept(server, pinned=True, last=3)
        for how in ("stop", "kill"):
            self.restart(server, how)
            version, number = self.current(server)
            self.assertEqual(version, "one")
            self.assertEqual(self.plugin(server)["pinned"], 1)
            self.assertEqual(len(server.lines("plugin rolled back before the restart")), 1)
            self.wait_kept(server, pinned=True, last=number)
        live = Live(self, server, 3)
        self.check_command(server, "reload", "swap")
        self.assertEqual(self.current(server)[0], "two")
        live.finish()
        self.wait_kept(server, pinned=False)
        self.restart(server)
        self.assertEqual(self.current(server)[0], "two")

    def test_further_back_after_a_restart(self):
        """The versions are there, though no file of theirs is."""
        server = self.serve_swap(swap="swap_one")
        self.rename(server, "swap_two")
        self.wait_serves(server, "two", 2)
        self.rename(server, "swap_one")
        self.wait_serves(server, "one", 3)
        self.wait_kept(server, last=3)
        self.restart(server)
        self.check_serves(server, "one", 4)
        self.check_command(server, "rollback", "swap")
        self.check_serves(server, "two", 5)
        self.check_command(server, "rollback", "swap")
        self.check_serves(server, "one", 6)

    def test_another_file_ends_it(self):
        """One that comes while the server is down is what the operator deployed last."""
        server = self.serve_rolled_back()
        self.wait_kept(server, pinned=True)
        server.stop()
        self.rename(server, "swap_two")
        server.is_stopped = False
        server.start()
        self.assertEqual(self.current(server)[0], "two")
        self.assertNotIn("pinned", self.plugin(server))

    def test_drain(self):
        server = self.serve_swap(swap="swap_one", state="swap_state_one")
        self.check_command(server, "drain", "swap")
        self.wait_kept(server, drained=True)
        for _ in range(2):
            self.restart(server)
            self.assertEqual(self.agent(server)["state"], "drained")
            self.assertEqual(server.post("swap", {}).status, 503)
            self.assertEqual(self.agent(server, "swap_state")["state"], "serving")
        self.check_command(server, "reload", "swap")
        self.check_serves(server, "one", self.current(server)[1])
        self.wait_kept(server, drained=False)
        self.restart(server)
        self.assertEqual(self.agent(server)["state"], "serving")

    def test_modes(self):
        server = self.serve_rolled_back()
        self.wait_kept(server, pinned=True)
        folder = os.path.join(server.plugin_folder, ".sluice")
        for path in (folder, os.path.join(folder, "swap")):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o700)
        for name in os.listdir(os.path.join(folder, "swap")):
            self.assertEqual(stat.S_IMODE(os.stat(os.path.join(folder, "swap", name)).st_mode),
                             0o600)
        os.chmod(os.path.join(folder, "swap", "state"), 0o666)
        self.restart(server)
        self.assertEqual(len(server.lines("kept state ignored: others may write it")), 1)
        self.assertEqual(self.current(server)[0], "two")

    def test_garbage(self):
        server = self.serve_rolled_back()
        self.wait_kept(server, pinned=True)
        for text in (b"", b"{", b"[1]", b'{"versions":[{"generation":-1}],"pinned":true}',
                     b'{"last":1e300,"versions":{"a":1},"away":7}'):
            server.stop()
            write(os.path.join(server.plugin_folder, ".sluice", "swap", "state"), text)
            server.is_stopped = False
            server.start()
            self.assertEqual(self.current(server)[0], "two")

    def test_lost_image(self):
        """Nothing else serves in its place, since the operator did not want the file."""
        server = self.serve_rolled_back()
        self.wait_kept(server, pinned=True)
        server.stop()
        os.remove(os.path.join(server.plugin_folder, ".sluice", "swap", "1.so"))
        server.is_stopped = False
        server.start()
        self.assertIn("1.so", self.last_error(server))
        self.check_command(server, "reload", "swap")
        self.assertEqual(self.current(server)[0], "two")

    def test_nothing_is_kept_without_need(self):
        server = self.serve_swap(swap="swap_one")
        self.check_serves(server, "one", 1)
        server.stop()
        self.assertEqual(os.listdir(server.plugin_folder), ["swap.so"])

    def test_folder_of_its_own(self):
        state = self.path("state")
        server = self.serve_rolled_back(settings={"host.state_folder": state})
        wait_for(lambda: os.path.exists(os.path.join(state, "swap", "state")), "it is kept there")
        self.assertEqual(os.listdir(server.plugin_folder), ["swap.so"])
        wait_for(lambda: '"pinned":true' in open(os.path.join(state, "swap", "state")).read(),
                 "the pin, too")
        self.restart(server)
        self.assertEqual(self.current(server)[0], "one")

    def test_where_nothing_can_be_kept(self):
        server = self.prepare_swap(swap="swap_one", settings={"host.state_folder": "/proc/nowhere"})
        server.start()
        self.rename(server, "swap_two")
        self.wait_serves(server, "two", 2)
        wait_for(lambda: server.lines(" error ", "cannot keep what rollback and drain need"),
                 "it is told")
        self.check_command(server, "rollback", "swap")
        self.check_serves(server, "one", 3)


if __name__ == "__main__":
    main()
