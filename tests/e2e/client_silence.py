#!/usr/bin/python3
"""
A minute of silence between two texts, in every client, through nginx with its defaults, which
gives up on what is silent for a minute. `make client-silence` runs it.
"""

import os

from browser import needs_node
from harness import main
from nginx import Nginx, needs_nginx
from speaking import SpeakingTest

SILENCE_S = 65


@needs_node
@needs_nginx
class SilenceTest(SpeakingTest):
    def test_a_minute(self):
        server = self.serve_kit()
        os.chmod(self.folder, 0o755)
        proxy = Nginx(self.path("nginx"), server.address)
        self.addCleanup(proxy.stop)
        self.check_heard(self.say(proxy.url, f"text silence:{1000 * SILENCE_S} text", 2 * SILENCE_S),
                         "Hello, worldHello, world")


if __name__ == "__main__":
    main()
