#!/usr/bin/python3
"""
The clients of all protocols at once: in a page of a foreign origin, through a proxy that gives up
on what is silent, and while their agent is replaced.
"""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

from browser import PageServer, needs_chromium, needs_node
from harness import PATIENCE_S, main, plugin_path, wait_for
from kit import TOKEN
from nginx import Nginx, needs_nginx
from speaking import SPEAKERS, SpeakingTest


class EveryClientTest(SpeakingTest):
    def agent(self, server):
        with server.connect() as connection:
            answer = connection.exchange("GET", "/agents", None, {"Authorization": f"Bearer {TOKEN}"})
        return next(one for one in answer.json()["agents"] if one["name"] == "kit")

    def say_meanwhile(self, server, prompt, do):
        """What all hear if do() is done while they are at the gate that the prompt has for {}."""
        gate = self.path("gate")
        os.chmod(self.folder, 0o755)
        with ThreadPoolExecutor(1) as pool:
            heard = pool.submit(self.say, server.url, prompt.format(gate), 2 * PATIENCE_S)
            wait_for(lambda: heard.done() or self.agent(server)["live_runs"] == len(SPEAKERS),
                     "all of them listen")
            do()
            with open(gate, "w"):
                pass
            return heard.result()

    @needs_node
    @needs_nginx
    def test_silence_through_a_proxy(self):
        """The proxy gives up after two seconds; the heartbeats keep it from that."""
        server = self.serve_kit(**{"host.heartbeat": 1})
        os.chmod(self.folder, 0o755)
        proxy = Nginx(self.path("nginx"), server.address, "proxy_read_timeout 2s;")
        self.addCleanup(proxy.stop)
        self.check_heard(self.say(proxy.url, "text silence:3000 text", 2 * PATIENCE_S),
                         "Hello, worldHello, world")

    @needs_node
    def test_swap(self):
        """The agent is replaced while all have an answer open: each goes on to its end."""
        server = self.serve_kit()
        file = os.path.join(server.plugin_folder, "kit.so")

        def swap():
            shutil.copy(plugin_path("kit"), file + ".new")
            with open(file + ".new", "ab") as new:
                new.write(b"another image")
            os.rename(file + ".new", file)
            wait_for(lambda: self.agent(server)["generation"] == 2, "the new one serves")

        self.check_heard(self.say_meanwhile(server, "slow:3 gate:{} slow:3", swap),
                         "tick 1 tick 2 tick 3 " * 2)
        self.check_heard(self.say(server.url, "text", PATIENCE_S), "Hello, world")

    @needs_node
    def test_crash(self):
        """The agent's process dies under all open answers: each client is told, and none waits."""
        heard = self.say_meanwhile(self.serve_kit(), "text gate:{} crash", lambda: None)
        for speaker, end in zip(SPEAKERS, heard):
            self.assertIn("the agent crashed", str(end), speaker)

    @needs_chromium
    def test_page_of_a_foreign_origin(self):
        pages = PageServer()
        self.addCleanup(pages.stop)
        server = self.serve_kit(**{"host.cors_origins": pages.origin})
        said = self.say_in_chromium(pages, server.url, "text", 2 * PATIENCE_S)
        self.check_heard(said["heard"], "Hello, world")
        self.assertEqual(said["origin"], pages.origin)
        self.assertEqual(said["headers"]["location"], f"/runs/{said['headers']['x-request-id']}")


if __name__ == "__main__":
    main()
