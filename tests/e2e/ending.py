"""What the tests of runs that are ended from outside share."""

import os
import time

from harness import SANITIZED, wait_for
from supervising import SupervisionTest

CANCELLED = {"status": "cancelled", "reason": "client"}
FINISHED = {"status": "finished"}
NOBODY = "0" * 26  # an id that no run has

# How long after the fact an agent or a client may learn of it.
NOTICE_S = 5 if SANITIZED else 1


def modes(agent):
    return (agent, agent + "_fiber")


class EndTest(SupervisionTest):
    on_disconnect = None  # as the host has it

    def open(self, server, agent, value, query=""):
        stream = server.server.open(agent, value, query=query)
        self.addCleanup(stream.close)
        return stream

    def cancel(self, server, run, status=202):
        with server.connect() as connection:
            answer = connection.exchange("POST", f"/runs/{run}/cancel")
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers["content-type"], "application/json")
        return answer.json()

    def wait_state(self, server, run, *statuses):
        return wait_for(lambda: (lambda state: state if state["status"] in statuses else None)
                        (server.state(run)), f"the run is {' or '.join(statuses)}")

    def read_stamp(self, path):
        """When the agent saw that it is to stop, in seconds of the monotonic clock."""
        wait_for(lambda: os.path.exists(path), "the agent learns that it is to stop")
        with open(path) as file:
            stamp, cancelled = file.read().split()
        self.assertEqual(cancelled, "1")
        return int(stamp) / 1e9

    def check_soon(self, since, until, least=0.0):
        self.assertGreaterEqual(until - since, least - 0.01)  # a loop's time may be a bit behind
        self.assertLess(until - since, least + NOTICE_S)
