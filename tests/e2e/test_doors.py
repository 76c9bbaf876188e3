#!/usr/bin/env python3
"""What a plugin may reach: a plugin tries each door, and finds those of others closed."""

import ctypes
import json
import os
import pwd
import resource
import shutil
import unittest

from harness import SANITIZED, Test, copy_programs, main, plugin_path, run_sluice, wait_for
from supervising import exists

SECRET = "sk-that-only-its-owner-may-know"

# What the kernel or the host answers when a door is closed.
CLOSED = {"EACCES", "EPERM"}


# The version of the kernel's Landlock: landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION).
LANDLOCK = ctypes.CDLL(None, use_errno=True).syscall(444, None, ctypes.c_size_t(0), 1)


class DoorsTest(Test):
    """Servers of an unprivileged user, as which they are meant to run."""

    USER = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())

    def serve_unprivileged(self, *plugins, settings=None, env=None):
        """The user reads the binary and its plugins, wherever the build folder is."""
        server = self.prepare(settings={"host.debug": "no", **(settings or {})}, env=env)
        folder = server.plugin_folder
        server.args[0] = copy_programs(self.folder)
        for plugin in plugins:
            shutil.copy(plugin_path(plugin), folder)
        if os.getuid() == 0:
            for path in (self.folder, server.folder, folder):
                os.chown(path, self.USER.pw_uid, self.USER.pw_gid)
            server.as_user = {"user": self.USER.pw_uid, "group": self.USER.pw_gid, "extra_groups": []}
        server.start()
        return server

    def knock(self, server, door, **more):
        answer = server.post("e2e_doors", {"door": door, **more}, "?mode=wait")
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()["result"]

    def check_closed(self, server, door, **more):
        self.assertIn(self.knock(server, door, **more)["result"], CLOSED, (door, more))


@unittest.skipIf(SANITIZED, "leak checkers attach to processes: the guard stays open for them")
class MemoryTest(DoorsTest):
    """Of the front and of other plugins' workers."""

    DOORS = ("memory", "copy", "trace", "take", "environment", "descriptors")

    def test_no_plugin_reaches_into_another_process(self):
        server = self.serve_unprivileged("e2e_doors", "echo", env={"OPENAI_API_KEY": SECRET})
        for pid in (server.process.pid, server.worker_of("echo")):
            for door in self.DOORS:
                self.check_closed(server, door, pid=pid)
        self.assertEqual(server.run("echo", {"text": "on"})[-1].json()["status"], "finished")

    def test_a_new_worker_and_a_new_configuration_do_not_open_them(self):
        server = self.serve_unprivileged("e2e_doors", "echo")
        server.signal(1)
        wait_for(lambda: server.lines("configuration reloaded"), "the configuration is read again")
        old = server.worker_of("echo")
        os.kill(old, 9)
        new = wait_for(lambda: [pid for pid in server.serving("echo") if pid != old], "a new worker")[0]
        for pid in (server.process.pid, new):
            for door in self.DOORS:
                self.check_closed(server, door, pid=pid)

    def test_debug_opens_them_and_says_so(self):
        server = self.serve_unprivileged("e2e_doors", settings={"host.debug": "yes"})
        self.assertEqual(self.knock(server, "self")["dumpable"], 1)
        own = server.worker_of("e2e_doors")
        for door in ("memory", "environment", "descriptors"):
            self.assertEqual(self.knock(server, door, pid=own)["result"], "ok")
        self.assertTrue(server.lines(" warn ", "host.debug is on"))

    def test_nothing_that_a_plugin_starts_gains_privileges(self):
        server = self.serve_unprivileged("e2e_doors")
        known = self.knock(server, "self")
        self.assertEqual((known["no_new_privs"], known["dumpable"]), (1, 0), known)
        self.assertNotIn("became", known)


class EnvironmentTest(DoorsTest):
    ENV = {"OPENAI_API_KEY": SECRET, "OTEL_A": "a", "OTEL_B": "b", "LANG": "C.UTF-8", "LC_TIME": "C",
           "https_proxy": "http://127.0.0.1:1"}

    def variable(self, server, name):
        return self.knock(server, "variable", name=name)["answer"]

    def check_variables(self, env, wanted):
        server = self.serve_unprivileged("e2e_doors", settings={"plugin.e2e_doors.env": env}, env=self.ENV)
        self.assertEqual({name: self.variable(server, name) for name in wanted}, wanted)

    def test_a_plugin_gets_what_is_nobodys_secret(self):
        self.check_variables("", {"OPENAI_API_KEY": None, "OTEL_A": None, "XDG_RUNTIME_DIR": None,
                                  "LANG": "C.UTF-8", "LC_TIME": "C", "https_proxy": "http://127.0.0.1:1",
                                  "PATH": os.environ["PATH"]})

    def test_a_plugin_gets_what_is_named(self):
        self.check_variables("OPENAI_API_KEY,OTEL_*, LANG=de,NEW=x=y",
                             {"OPENAI_API_KEY": SECRET, "OTEL_A": "a", "OTEL_B": "b", "LANG": "de", "NEW": "x=y",
                              "XDG_RUNTIME_DIR": None})

    def test_a_plugin_gets_all(self):
        self.check_variables("*", {"OPENAI_API_KEY": SECRET, "OTEL_A": "a"})

    def test_a_reload_swaps_the_plugin(self):
        config = self.path("sluice.ini")
        with open(config, "w", encoding="utf-8") as file:
            file.write("[host]\n")
        server = self.prepare("e2e_doors", env=self.ENV)
        server.args += ["-c", config]
        server.start()
        self.assertIsNone(self.variable(server, "OTEL_A"))
        with open(config, "w", encoding="utf-8") as file:
            file.write("[plugin e2e_doors]\nenv = OTEL_A\nnofile = 100\n")
        server.signal(1)
        wait_for(lambda: server.lines("now serving", "generation=2"), "the swap")
        self.assertEqual(self.variable(server, "OTEL_A"), "a")
        self.assertEqual(self.knock(server, "limit", number=resource.RLIMIT_NOFILE)["answer"], 100)

    def test_a_file_of_another_name_is_refused(self):
        """Its code would run before it is known whose limits are its own."""
        server = self.prepare("echo", settings={"plugin.e2e_doors.env": "OPENAI_API_KEY"})
        shutil.copy(plugin_path("e2e_doors"), os.path.join(server.plugin_folder, "other.so"))
        server.start()
        self.assertTrue(server.lines("name the file e2e_doors.so"), server.log())
        self.assertEqual(server.post("e2e_doors", {}).status, 404)


class LimitsTest(DoorsTest):
    LIMITS = {"core": resource.RLIMIT_CORE, "nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC,
              "fsize": resource.RLIMIT_FSIZE, **({} if SANITIZED else {"as": resource.RLIMIT_AS})}

    def limits(self, server):
        return {name: self.knock(server, "limit", number=number)["answer"] for name, number in self.LIMITS.items()}

    def test_limits(self):
        wanted = {"core": 0, "nofile": 64, "nproc": 512, "fsize": 1 << 20, **({} if SANITIZED else {"as": 1 << 31})}
        wanted["core"] = min(4096, resource.getrlimit(resource.RLIMIT_CORE)[1] % (1 << 64))
        server = self.serve_unprivileged("e2e_doors", settings={
            f"plugin.e2e_doors.{name}": f"{value >> 10}K" if value > 4096 else value
            for name, value in wanted.items()})
        self.assertEqual(self.limits(server), wanted)

    def test_no_core_files(self):
        server = self.serve_unprivileged("e2e_doors")
        self.assertEqual(self.limits(server)["core"], 0)

    def test_a_limit_that_cannot_be_had(self):
        server = self.serve_unprivileged("e2e_doors", "echo", settings={"plugin.e2e_doors.nofile": "2000000000"})
        self.assertTrue(server.lines("refused at confine", "nofile = 2000000000"), server.log())
        self.assertEqual(server.run("echo", {"text": "on"})[-1].json()["status"], "finished")


class AdminTest(DoorsTest):
    def test_no_plugin_commands_the_server(self):
        """Though it is the same user's."""
        server = self.serve_unprivileged("e2e_doors", "echo")
        for command in ({"command": "list"}, {"command": "drain", "name": "echo"}):
            found = self.knock(server, "socket", path=server.admin, text=json.dumps(command))
            self.assertNotIn('"ok":true', found["answer"], found)
        self.assertEqual(server.run("echo", {"text": "on"})[-1].json()["status"], "finished")


class SignalTest(DoorsTest):
    def test_no_plugin_sends_signals_to_another_process(self):
        if LANDLOCK < 6:
            self.skipTest("this kernel does not keep signals in")
        server = self.serve_unprivileged("e2e_doors", "echo")
        for pid in (server.process.pid, server.worker_of("echo"), os.getpid()):
            self.check_closed(server, "signal", pid=pid)
        self.assertEqual(self.knock(server, "signal", pid=self.knock(server, "daemon")["pid"])["result"], "ok")


@unittest.skipIf(os.getuid() != 0, "only root starts servers whose plugins have users of their own")
class UserTest(DoorsTest):
    def serve_as_root(self, *plugins, settings=None):
        """A server of root's with two users of plugins, in a folder that others may enter."""
        server = self.prepare(*plugins, settings=settings)
        for path in (self.folder, server.folder, server.plugin_folder):
            os.chmod(path, 0o755)
        server.start()
        return server

    def test_a_plugin_is_its_users(self):
        server = self.serve_as_root("e2e_doors", "echo", settings={"plugin.e2e_doors.user": "nobody"})
        user = pwd.getpwnam("nobody")
        known = self.knock(server, "self")
        self.assertEqual((known["uid"], known["gid"], known["no_new_privs"]), (user.pw_uid, user.pw_gid, 1))
        self.assertNotIn("became", known)
        self.assertEqual(self.knock(server, "variable", name="HOME")["answer"], user.pw_dir)
        with open(self.path("tokens"), "w", encoding="ascii") as file:
            file.write("secret")
        os.chmod(self.path("tokens"), 0o600)
        self.check_closed(server, "read", path=self.path("tokens"))
        self.check_closed(server, "write", path=os.path.join(server.plugin_folder, "echo2.so"))
        self.check_closed(server, "socket", path=server.admin, text='{"command":"list"}')
        for pid in (server.process.pid, server.worker_of("echo")):
            for door in ("signal", *(() if SANITIZED else MemoryTest.DOORS)):
                self.check_closed(server, door, pid=pid)
        self.assertEqual(server.run("echo", {"text": "on"})[-1].json()["status"], "finished")

    def test_its_worker_and_what_it_left_end(self):
        server = self.serve_as_root("e2e_doors", settings={"plugin.e2e_doors.user": "nobody"})
        left = self.knock(server, "daemon")["pid"]
        worker = server.worker_of("e2e_doors")
        server.signal(9)
        server.wait()
        wait_for(lambda: not exists(worker), "the worker ends with its server")
        server.is_stopped = True
        os.kill(left, 9)

    def test_root_is_warned(self):
        self.assertTrue(self.serve_as_root().lines(" warn ", "running as root"))

    def test_unknown_users_are_refused(self):
        ended = run_sluice("serve", "-n", "--set", "plugin.echo.user=no-such-user")
        self.assertEqual(ended.returncode, 1)
        self.assertIn(b"user must be the name of a user of this machine", ended.stderr)


class SandboxTest(DoorsTest):
    """Landlock."""

    def serve_in_sandbox(self, sandbox="yes", **settings):
        return self.serve_unprivileged("e2e_doors", "echo", settings={
            "plugin.e2e_doors.sandbox": sandbox, **{f"plugin.e2e_doors.{k}": v for k, v in settings.items()}})

    def open_folder(self, name):
        """Which the file modes open to everyone."""
        path = self.path(name)
        os.mkdir(path)
        os.chmod(path, 0o777)
        with open(os.path.join(path, "file"), "w", encoding="ascii") as file:
            file.write(name)
        os.chmod(os.path.join(path, "file"), 0o666)
        return path

    def setUp(self):
        super().setUp()
        if LANDLOCK < 4:
            self.skipTest("this kernel has no Landlock, or one without TCP")

    def test_files(self):
        paths = {name: self.open_folder(name) for name in ("none", "read", "write")}
        server = self.serve_in_sandbox("files", sandbox_read=paths["read"],
                                       sandbox_write=paths["write"])
        doors = {(door, name): self.knock(server, door, path=os.path.join(path, "file" if door == "read" else "new"))
                 ["result"] for name, path in paths.items() for door in ("read", "write")}
        self.assertEqual({door for door, result in doors.items() if result == "ok"},
                         {("read", "read"), ("read", "write"), ("write", "write")}, doors)
        self.assertEqual(set(doors.values()), {"ok", "EACCES"})
        self.assertEqual(self.knock(server, "read", path="/usr/bin/env")["result"], "ok")
        self.check_closed(server, "read", path="/etc/shadow")
        self.check_closed(server, "read", path=os.path.expanduser("~"))
        # TCP is not confined.
        self.assertEqual(self.knock(server, "port", port=server.address[1])["result"], "ok")

    def test_ports(self):
        server = self.serve_in_sandbox(sandbox_connect="1")
        self.check_closed(server, "port", port=server.address[1])
        self.check_closed(server, "listen")
        self.assertEqual(self.knock(server, "port", port=1)["result"], "ECONNREFUSED")
        self.assertEqual(server.run("echo", {"text": "on"})[-1].json()["status"], "finished")

    def test_debug_leaves_the_sandbox_closed(self):
        """The copy of the plugin is a file then, which the sandbox lets in."""
        server = self.serve_unprivileged("e2e_doors", settings={
            "plugin.e2e_doors.sandbox": "yes", "host.debug": "yes"})
        self.check_closed(server, "read", path=os.path.expanduser("~"))
        self.check_closed(server, "listen")

    def test_a_path_that_is_not_there_is_told(self):
        server = self.serve_in_sandbox(sandbox_read="/no/such/place")
        self.assertTrue(server.lines("refused at confine", "sandbox_read: /no/such/place: No such file"), server.log())


class OrphansTest(DoorsTest):
    """What a plugin leaves behind, in a session of its own, ends with its worker."""

    def leave(self, server, **more):
        pid = self.knock(server, "daemon", **more)["pid"]
        self.assertTrue(exists(pid))
        return pid

    def test_the_worker_dies(self):
        server = self.serve_unprivileged("e2e_doors", "echo")
        left = [self.leave(server), self.leave(server, path=shutil.which("sleep"))]
        os.kill(server.worker_of("e2e_doors"), 9)
        wait_for(lambda: not any(map(exists, left)), "what the plugin left is killed")
        for pid in left:
            self.assertTrue(server.lines("process killed because its worker has ended", f"pid={pid} "))
            wait_for(lambda pid=pid: not os.path.exists(f"/proc/{pid}"), "it is reaped")
        self.assertEqual(server.run("echo", {"text": "on"})[-1].json()["status"], "finished")

    def test_others_do_not_notice(self):
        """A daemon lives as long as its worker, whatever becomes of another's."""
        server = self.serve_unprivileged("e2e_doors", "echo")
        kept = self.leave(server)
        dead = server.worker_of("echo")
        os.kill(dead, 9)
        wait_for(lambda: server.serving("echo") not in ([], [dead]), "another worker")
        self.assertTrue(exists(kept))
        server.stop()
        self.assertFalse(exists(kept))

    def test_the_server_stops(self):
        server = self.serve_unprivileged("e2e_doors")
        left = self.leave(server, path=shutil.which("sleep"))
        server.stop()
        self.assertFalse(exists(left))

    def test_what_was_there_before_is_spared(self):
        """Such as what a shell started that then executes sluice."""
        server = self.prepare("e2e_doors")
        server.args = ["/bin/sh", "-c", 'sleep 3600 & echo $! >"$0"; exec "$@"', self.path("before"), *server.args]
        server.start()
        with open(self.path("before"), encoding="ascii") as file:
            before = int(file.read())
        self.addCleanup(os.kill, before, 9)
        left = self.leave(server)
        os.kill(server.worker_of("e2e_doors"), 9)
        wait_for(lambda: not exists(left), "what the plugin left is killed")
        self.assertTrue(exists(before))


if __name__ == "__main__":
    main()
