#!/usr/bin/python3
"""
Plugins that misbehave while other plugins' streams are open: the front lives,
the others lose nothing, the faulty runs end once and with the truth, and new
runs of the faulty plugin are served again.
"""

import os
import signal

from harness import PATIENCE_S, SANITIZED, main, text_of, types, wait_for
from supervising import (EVENT_MAX, WIRE, SupervisionTest, end, event, exists, frame)

FINISHED = {"status": "finished"}

# A sanitizer reports a bad access itself, and exits. When the worker has left, nobody else does.
SEGV = ("a sanitizer ended", "exited with status") if SANITIZED else ("SIGSEGV (invalid address 0x0)",
                                                  "signal 11 (Segmentation fault)")


class FaultTest(SupervisionTest):
    PLUGIN = None
    FINE = ["run", "ready", "done"]  # what a run without a fault emits
    SETTINGS = {}

    def setUp(self):
        super().setUp()
        self.server = self.watch(self.PLUGIN, "ticker", settings=self.SETTINGS)
        self.others = self.bystanders(self.server)
        self.worker = self.server.serving(self.PLUGIN)[0]

    def check_fine(self):
        """Nobody else noticed, and the plugin serves."""
        events = self.server.run(self.PLUGIN, {})
        self.assertEqual(types(events), self.FINE)
        self.assertEqual(events[-1].json(), FINISHED)
        self.others.check()

    def check_crash(self, value, first, *messages, runs=1):
        """A run that kills its worker; first: what it emits before."""
        stream = self.server.open(self.PLUGIN, value)
        self.assertEqual(types(stream.rest()), ["run", *first, "done"])
        self.check_failed(stream.done, "worker_crashed", *messages)
        self.check_obituary(self.server, self.PLUGIN, self.worker, runs, *messages)
        self.check_fine()
        self.assertNotIn(self.worker, self.server.children())

    def replace(self):
        """A new generation; waits until the old one is gone."""
        ended = self.server.reload(self.PLUGIN)
        self.assertEqual((ended.returncode, ended.stderr), (0, b""))
        wait_for(lambda: self.worker not in self.server.children(), "the old worker is gone")

    def check_left_well(self):
        self.assertEqual(self.server.obituaries(), [])
        self.check_fine()


class ExitTest(FaultTest):
    PLUGIN = "fault_exit"
    FINE = ["run", "armed", "done"]

    def arm(self, at, how):
        events = self.server.run(self.PLUGIN, {"at": at, "how": how})
        self.assertEqual(types(events), self.FINE)

    def check_bad_end(self, at, how, *messages):
        self.arm(at, how)
        self.replace()
        self.check_obituary(self.server, self.PLUGIN, self.worker, 0, *messages)
        self.check_fine()

    def test_crash_in_destroy(self):
        self.check_bad_end("destroy", "crash", *SEGV)

    def test_crash_in_an_atexit_handler(self):
        self.check_bad_end("atexit", "crash", *SEGV)

    def test_hang_in_destroy(self):
        self.check_bad_end("destroy", "hang", "it did not leave in time")

    def test_hang_in_an_atexit_handler(self):
        self.check_bad_end("atexit", "hang", "it did not leave in time")

    def test_server_stops_cleanly_all_the_same(self):
        for at, how in (("destroy", "crash"), ("atexit", "hang")):
            with self.subTest(at=at, how=how):
                server = self.watch(self.PLUGIN)
                server.run(self.PLUGIN, {"at": at, "how": how})
                server.stop()


class DeadlockTest(FaultTest):
    PLUGIN = "fault_deadlock"
    SETTINGS = {"host.drain_timeout": 1}

    def test_deadlocked_thread(self):
        """It costs its run and its thread; the drain's deadline ends both."""
        stream = self.server.open(self.PLUGIN, {"how": "lock"})
        stream.until("ready")
        self.check_fine()
        self.assertEqual(self.server.serving(self.PLUGIN), [self.worker])
        self.replace()
        self.assertEqual(types(stream.rest()), ["run", "ready", "done"])
        self.check_failed(stream.done, "drain_timeout")
        self.check_obituary(self.server, self.PLUGIN, self.worker, 1,
                            "did not stop at the drain deadline")
        self.check_fine()

    def test_client_of_a_deadlocked_run_leaves(self):
        stream = self.server.open(self.PLUGIN, {"how": "lock"})
        stream.until("ready")
        stream.close()
        self.check_fine()


class StrayTest(FaultTest):
    PLUGIN = "fault_stray"
    FINE = ["run", "left", "done"]

    def check_stray(self, how):
        events = self.server.run(self.PLUGIN, {"how": how})
        self.assertEqual(types(events), self.FINE)
        self.assertEqual(events[-1].json(), FINISHED)
        self.check_fine()
        self.replace()
        self.check_left_well()

    def test_thread_that_emits_in_a_run_that_is_over(self):
        self.check_stray("bound")

    def test_thread_that_computes(self):
        self.check_stray("spin")


class LateTest(FaultTest):
    """What runs late in a process: it does, once, and emits into nothing."""

    def check_said(self, *lines):
        for line in lines:
            found = self.server.lines(f" info worker {line}: emit_")
            self.assertEqual(len(found), 1, (line, self.server.lines(" worker ")))
            self.assertIn("() says -6", found[0])


class AtexitTest(LateTest):
    PLUGIN = "fault_atexit"

    def test_handlers_and_destructors(self):
        self.assertEqual(types(self.server.run(self.PLUGIN, {})), self.FINE)
        self.replace()
        self.check_said("the first atexit handler runs", "the second atexit handler runs",
                        "the destructor runs", "the value of a thread is destroyed")
        self.check_left_well()


class CxxTest(LateTest):
    PLUGIN = "fault_cxx"
    FINE = ["run", "text", "done"]

    def test_static_and_thread_local_objects(self):
        self.assertEqual(text_of(self.server.run(self.PLUGIN, {})), "fine")
        self.replace()
        self.check_said("the static object of the file is destroyed",
                        "the static object of the function is destroyed",
                        "the thread_local object is destroyed")
        self.check_left_well()

    def test_exception_that_leaves_handle(self):
        stream = self.server.open(self.PLUGIN, {"how": "throw"})
        self.assertIn(types(stream.rest()), (["run", "text", "done"], ["run", "done"]))
        self.check_failed(stream.done, "worker_crashed", "SIGABRT (abort() was called)")
        self.check_obituary(self.server, self.PLUGIN, self.worker, 1, "SIGABRT (abort() was called)")
        self.check_fine()


class DescriptorTest(FaultTest):
    PLUGIN = "fault_close"
    # The worker may meet the closed descriptors itself, before the front ends it.
    MESSAGES = ("it closed its connection", "exited with status", "SIGABRT",
                "signal 6 (Aborted)", "the plugin called")

    def check_closes(self, how):
        stream = self.server.open(self.PLUGIN, {"how": how})
        # What it emitted last may be lost with the socket.
        self.assertIn(types(stream.rest()), (["run", "ready", "done"], ["run", "done"]))
        self.check_failed(stream.done, "worker_crashed", *self.MESSAGES)
        self.check_obituary(self.server, self.PLUGIN, self.worker, 1, *self.MESSAGES)
        self.check_fine()

    def test_closes_all(self):
        self.check_closes("close")

    def test_closes_all_and_opens_others_as_them(self):
        self.check_closes("reopen")


class GarbageTest(FaultTest):
    PLUGIN = "fault_garbage"
    MESSAGES = ("that are no frame", "an invalid ", "it closed its connection", "exited with status",
                "SIGABRT", "signal 6 (Aborted)")

    def test_writes_garbage_to_every_descriptor(self):
        """Among them is the image of the plugin, of which the next worker is made."""
        for _ in range(2):
            self.worker = self.server.wait_serving(self.PLUGIN)[0]
            stream = self.server.open(self.PLUGIN, {"how": "write"})
            self.assertIn(types(stream.rest()), (["run", "ready", "done"], ["run", "done"]))
            self.check_failed(stream.done, "worker_crashed", *self.MESSAGES)
            self.check_obituary(self.server, self.PLUGIN, self.worker, 1, *self.MESSAGES)
            self.check_fine()


class SignalTest(FaultTest):
    PLUGIN = "fault_signals"
    FINE = ["run", "changed"] + ["tick"] * 20 + ["done"]

    def check_lives(self, how):
        """The runs are whole, and the worker leaves when it is told to."""
        events = self.server.run(self.PLUGIN, {"how": how})
        self.assertEqual(types(events), self.FINE)
        self.check_fine()
        self.assertEqual(self.server.serving(self.PLUGIN), [self.worker])
        self.replace()
        self.check_left_well()

    def test_all_ignored(self):
        self.check_lives("ignore")

    def test_all_blocked(self):
        self.check_lives("block")

    def test_signals_all_the_time(self):
        """Every system call of the worker may be interrupted."""
        self.check_lives("alarm")

    def test_crash_while_all_are_ignored(self):
        self.check_crash({"how": "segv"}, ["changed"], *SEGV)

    def test_default_handler_and_its_signal(self):
        self.check_crash({"how": "term"}, ["changed"], "signal 15 (Terminated)")

    def test_killed_while_all_are_ignored(self):
        self.server.run(self.PLUGIN, {"how": "ignore"})
        os.kill(self.worker, signal.SIGKILL)
        self.check_obituary(self.server, self.PLUGIN, self.worker, 0, "signal 9 (Killed)")
        self.check_fine()


class ForkTest(FaultTest):
    PLUGIN = "fault_fork"

    def end_children(self):
        """What a plugin forks is not the front's child; it must not outlive the test."""
        for pid in self.server.workers():
            if pid not in self.server.children():
                os.kill(pid, signal.SIGKILL)

    def setUp(self):
        super().setUp()
        self.addCleanup(self.end_children)

    def fork(self, how):
        stream = self.server.open(self.PLUGIN, {"how": how, "type": WIRE["STATE"]})
        return stream, stream.until("forked").json()["pid"]

    def check_worker_dies(self, how):
        """The child holds the worker's end of the socket; its death is seen all the same."""
        stream, _ = self.fork(how)
        os.kill(self.worker, signal.SIGKILL)
        self.assertEqual(types(stream.rest()), ["run", "forked", "done"])
        self.check_failed(stream.done, "worker_crashed", "signal 9 (Killed)")
        self.check_obituary(self.server, self.PLUGIN, self.worker, 1, "signal 9 (Killed)")
        self.check_fine()

    def test_child_holds_the_descriptors(self):
        self.check_worker_dies("hold")

    def test_child_writes_without_pause(self):
        """It says what nobody asked for, which ends the worker; the front does not read for ever."""
        stream = self.server.open(self.PLUGIN, {"how": "flood", "type": WIRE["STATE"]})
        stream.rest()
        self.check_failed(stream.done, "worker_crashed", "an invalid ", "that are no frame")
        self.check_obituary(self.server, self.PLUGIN, self.worker, 1, "frame")
        self.check_fine()

    def test_child_goes_on_as_the_worker(self):
        """Both end the run; the first end counts, and the second one ends the worker."""
        neighbour, _ = self.fork("hold")
        stream = self.server.open(self.PLUGIN, {"how": "both"})
        self.assertEqual(types(stream.rest()), ["run", "done"])
        self.assertEqual(stream.done, FINISHED)
        self.assertEqual(types(neighbour.rest()), ["run", "forked", "done"])
        self.check_failed(neighbour.done, "worker_crashed", "it sent an invalid END frame")
        self.check_obituary(self.server, self.PLUGIN, self.worker, 1, "an invalid END frame")
        self.check_fine()

    def test_child_does_not_outlive_the_worker(self):
        stream, child = self.fork("hold")
        self.assertTrue(exists(child))
        os.kill(self.worker, signal.SIGKILL)
        stream.rest()
        wait_for(lambda: not exists(child), "what the worker forked is gone", 5)


class CancelTest(FaultTest):
    PLUGIN = "fault_cancel"

    def test_client_leaves_a_run_that_goes_on(self):
        stream = self.server.open(self.PLUGIN, {"how": "ignore"})
        stream.until("tick")
        stream.close()
        wait_for(lambda: self.server.workers_of(self.PLUGIN)[0]["live_runs"] == 1,
                 "the run is still there")
        self.check_fine()
        self.assertEqual(self.server.serving(self.PLUGIN), [self.worker])


class CancelFiberTest(CancelTest):
    """It does not look at what it is told, but each time that it is told, the others go on."""

    PLUGIN = "fault_cancel_fiber"
    SETTINGS = {"host.stuck_timeout": 1}


# ---- the worker's socket ----

NOT_A_FRAME = "it sent bytes that are no frame"
INVALID = "it sent an invalid "
CLOSED = "it closed its connection"


class WireTest(SupervisionTest):
    NEIGHBOURS = 2
    # A fresh worker's runs are numbered from 0 on.
    RUN = NEIGHBOURS
    UNKNOWN = RUN + 1

    def begin(self, settings=None):
        self.server = self.watch("fault_wire", "ticker", settings=settings)
        self.others = self.bystanders(self.server, 2)
        self.worker = self.server.serving("fault_wire")[0]
        self.neighbours = [self.open({"hex": "", "repeat": 0, "then": "wait"})
                           for _ in range(self.NEIGHBOURS)]
        for stream in self.neighbours:
            stream.until("ready")

    def open(self, value, receive_buffer=None):
        stream = self.server.open("fault_wire", value, receive_buffer)
        stream.connection.socket.settimeout(PATIENCE_S / 4)
        return stream

    def check_rest(self):
        """All others get the truth and go on."""
        self.check_obituary(self.server, "fault_wire", self.worker, self.left, *self.messages)
        for stream in self.neighbours:
            self.assertEqual(types(stream.rest()), ["run", "ready", "done"])
            self.check_failed(stream.done, self.code, *self.messages)
        events = self.server.run("fault_wire", {})
        self.assertEqual(types(events), ["run", "ready", "done"])
        self.assertEqual(events[-1].json(), FINISHED)
        self.others.check()
        self.assertNotIn(self.worker, self.server.children())

    def check_ends(self, data, *messages, then="wait", repeat=1, emitted=(), done=None,
                   settings=None, code="worker_crashed"):
        """
        The worker dies of these bytes, for one of these reasons. emitted: what
        of it still is in the stream; done: what the run itself ends with, if
        it ends before its worker.
        """
        self.begin(settings)
        self.messages = messages
        self.code = code
        self.left = self.NEIGHBOURS + (done is None)
        stream = self.open({"hex": data.hex(), "repeat": repeat, "then": then})
        self.assertEqual(types(stream.rest()), ["run", "ready", *emitted, "done"])
        if done is None:
            self.check_failed(stream.done, code, *messages)
        else:
            self.assertEqual(stream.done, done)
        self.check_rest()

    def check_each_ends(self, cases, *messages, **rest):
        for name, data in cases.items():
            with self.subTest(frame=name):
                self.check_ends(data, *messages, **rest)
                self.server.stop()

    # ---- headers ----

    def test_good_frame(self):
        """The tests can speak for the worker: an EVENT of theirs is in the stream."""
        self.begin()
        stream = self.open({"hex": event(self.RUN, b"wire", b'{"n":1}').hex(), "repeat": 3,
                            "then": "end"})
        self.assertEqual(types(stream.rest()), ["run", "ready", "wire", "wire", "wire", "done"])
        self.assertEqual(stream.done, FINISHED)
        self.assertEqual(self.server.serving("fault_wire"), [self.worker])

    def test_oversized(self):
        self.check_each_ends({
            "EVENT, a byte too long": frame("EVENT", self.RUN, length=1 + 64 + EVENT_MAX + 1),
            "EVENT, as long as can be said": frame("EVENT", self.RUN, length=0xffffffff),
            "PONG": frame("PONG", payload=bytes(25)),
        }, NOT_A_FRAME)

    def test_too_short(self):
        self.check_each_ends({
            "EVENT": frame("EVENT", self.RUN, b"\x01x"),
            "END": frame("END", self.RUN, b"\x00\x00"),
            "PONG": frame("PONG", payload=bytes(16)),
        }, NOT_A_FRAME)

    def test_unknown(self):
        self.check_each_ends({
            "the first unknown type": frame(len(WIRE), payload=bytes(24)),
            "the last unknown type": frame(0xffff, payload=bytes(16)),
            "what must be zero": frame("PONG", payload=bytes(24), zero=1),
        }, NOT_A_FRAME)

    def test_wrong_side(self):
        self.check_each_ends({
            "PING": frame("PING", payload=bytes(8)),
            "QUIT": frame("QUIT"),
            "START": frame("START", self.UNKNOWN, b"input\0{}\0"),
        }, NOT_A_FRAME)

    def test_wrong_moment(self):
        self.check_each_ends({
            "HELLO": frame("HELLO", payload=b'{"name":"other","version":"9"}'),
            "HELLO without a name": frame("HELLO", payload=b"[]"),
            "HELLO that is not JSON": frame("HELLO", payload=b"\xff\xff"),
            "READY": frame("READY"),
        }, INVALID)

    def test_refused_when_it_serves(self):
        refusal = frame("REFUSED", payload=b'{"step":"open","reason":"a joke"}')
        self.check_ends(refusal, INVALID, "refused at open: a joke")

    def test_refused_with_text_that_is_cut(self):
        """A reason that is too long is cut; what clients read stays JSON in UTF-8."""
        long = frame("REFUSED", payload=b'{"step":"open","reason":"x' +
                     "é".encode() * 5000 + b'"}')
        self.check_ends(long, INVALID, "refused at open: x")

    def test_truncated_at_the_end_of_the_process(self):
        self.check_each_ends({
            "a header": frame("EVENT", self.RUN, b"\x04wire{}")[:7],
            "a payload": frame("EVENT", self.RUN, b"\x04wire{}", length=1000),
        }, "exited with status 0", then="exit")

    def test_truncated_and_silent(self):
        """What the worker says next is taken for the frame's rest: it counts as stuck."""
        self.check_ends(frame("EVENT", self.RUN, b"\x04wire", length=EVENT_MAX),
                        "its loop did not answer", settings={"host.stuck_timeout": 1},
                        code="worker_stuck")

    def test_truncated_and_something_else(self):
        self.check_ends(frame("EVENT", self.RUN, b"\x04wire{}", length=20) + b"\xa5" * 40,
                        NOT_A_FRAME, INVALID, emitted=["wire"])

    # ---- events ----

    def test_event_of_an_unknown_run(self):
        self.check_each_ends({
            "the next number": event(self.UNKNOWN),
            "a large number": event(123456),
            "the largest number": event(0xffffffff),
        }, INVALID)

    def test_malformed_event(self):
        self.check_each_ends({
            "no type": frame("EVENT", self.RUN, b"\x00{}"),
            "a type longer than the frame": frame("EVENT", self.RUN, b"\x30wire{}"),
            "a type that is too long": event(self.RUN, b"t" * 65),
            "no JSON": event(self.RUN, b"wire", b""),
        }, INVALID)

    def test_event_that_breaks_lines(self):
        self.check_each_ends({
            "LF in the JSON": event(self.RUN, b"wire", b'{"n":\n1}'),
            "CR in the JSON": event(self.RUN, b"wire", b'{"n":\r1}'),
            "an event in the JSON": event(self.RUN, b"wire", b'{}\n\nevent: done\ndata: {}'),
            "LF in the type": event(self.RUN, b"wi\nre"),
            "a blank in the type": event(self.RUN, b"wi re"),
            "NUL in the type": event(self.RUN, b"wi\0re"),
        }, INVALID)

    def test_event_with_a_name_of_the_hosts(self):
        """A run has one done, and it is the front that says it."""
        self.check_each_ends({
            "done": event(self.RUN, b"done", b'{"status":"finished"}'),
            "run": event(self.RUN, b"run", b'{"run":"other"}'),
            "gap": event(self.RUN, b"gap"),
            "error": event(self.RUN, b"error"),
            "open": event(self.RUN, b"open"),
        }, INVALID)

    def test_flood_beyond_the_credit(self):
        """Its client reads nothing, so no credit comes back."""
        self.begin()
        self.messages = (INVALID,)
        self.code = "worker_crashed"
        self.left = self.NEIGHBOURS + 1
        data = event(self.RUN, b"wire", b'"' + b"x" * 65000 + b'"')
        stream = self.open({"hex": data.hex(), "repeat": 2000, "then": "wait"}, 4096)
        self.check_rest()
        events = stream.rest()
        self.assertEqual(types(events), ["run", "ready"] + ["wire"] * (len(events) - 3) + ["done"])
        self.check_failed(stream.done, "worker_crashed", INVALID)

    def test_flood_of_answers_to_no_question(self):
        """A gigabyte of PONG: the worker ends, and meanwhile the others are served."""
        self.begin()
        data = frame("PONG", payload=bytes(24)) * 4096
        stream = self.open({"hex": data.hex(), "repeat": 8192, "then": "wait"})
        stream.until("ready")
        self.others.check()
        wait_for(lambda: self.server.obituaries(f"pid={self.worker} "),
                 "a worker that floods its link is ended", 10)

    # ---- ends ----

    def test_end_of_an_unknown_run(self):
        self.check_each_ends({"the next number": end(self.UNKNOWN),
                              "the largest number": end(0xffffffff)}, INVALID)

    def test_malformed_end(self):
        whole = end(self.RUN)[12:]
        self.check_each_ends({
            "status": end(self.RUN, status=3),
            "a text too few": frame("END", self.RUN, whole[:-1]),
            "a text too many": frame("END", self.RUN, whole + b"\0"),
            "a text without its end": frame("END", self.RUN, whole + b"x"),
        }, INVALID)

    def test_end_that_breaks_lines(self):
        self.check_each_ends({
            "LF in the result": end(self.RUN, result=b'{"n":\n1}'),
            "CR in the result": end(self.RUN, result=b'{"n":\r1}'),
        }, INVALID)

    def test_result_that_is_not_json(self):
        self.check_each_ends({"half": end(self.RUN, result=b'{"n":'),
                              "too much": end(self.RUN, result=b'{}},"x":{')}, INVALID)

    def test_texts_that_are_not_utf8(self):
        self.begin()
        stream = self.open({"hex": end(self.RUN, 1, b"code\xff", b"mess\xe2\x82").hex(),
                            "repeat": 1, "then": "wait"})
        self.assertEqual(types(stream.rest()), ["run", "ready", "done"])
        self.assertEqual(stream.done["status"], "failed")
        stream.parser.events[-1].data.decode("utf-8")
        self.others.check()

    def test_end_twice(self):
        """The first end counts; the second one is of no run."""
        self.check_ends(end(self.RUN) * 2, INVALID, done=FINISHED)

    def test_event_behind_the_end(self):
        self.check_ends(end(self.RUN) + event(self.RUN), INVALID, done=FINISHED)

    def test_early_end_and_the_true_one(self):
        self.check_ends(end(self.RUN, 1, b"forged", b"early"), INVALID, then="end",
                        done={"status": "failed", "error": {"code": "forged", "message": "early"}})

    # ---- the socket itself ----

    def test_closed(self):
        self.check_ends(b"", CLOSED, then="close")

    def test_shut_down_for_writing(self):
        self.check_ends(b"", CLOSED, then="mute")

    def test_shut_down_for_reading(self):
        """Only the worker can see this one, and it leaves."""
        self.check_ends(b"", "exited with status 1", then="deaf")

    def test_shut_down(self):
        self.check_ends(b"", CLOSED, then="both")


if __name__ == "__main__":
    main()
