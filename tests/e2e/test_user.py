#!/usr/bin/python3
"""A server that root starts becomes host.user, and works on as that user."""

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import unittest

import cable
import test_doors
from harness import (SANITIZED, Identity, Test, copy_programs, main, plugin_path, run_sluice,
                     wait_for)
from host import read_proc
from supervising import exists
from test_doors import CLOSED, LANDLOCK

NEEDS_RESTART = 3
NOBODY, DAEMON = pwd.getpwnam("nobody"), pwd.getpwnam("daemon")
CAPABILITIES = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}
MEMORY_DOORS = () if SANITIZED else test_doors.MemoryTest.DOORS
KILL, SETGID, SETUID = 1 << 5, 1 << 6, 1 << 7


def threads_of(pid):
    """What the kernel says of each thread of the process."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        lines = read_proc(pid, f"task/{thread}/status").decode().splitlines()
        yield dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def groups_of(user):
    return sorted({user.pw_gid, *os.getgrouplist(user.pw_name, user.pw_gid)})


@unittest.skipIf(os.getuid() != 0, "only root starts servers that become other users")
class UserTest(Test):
    def prepare_as_root(self, *plugins, user="nobody", config="", settings=None, **more):
        """A server of root's, in a folder that others may enter; plugins are copies."""
        server = self.prepare(settings=settings, **more)
        server.args[0] = copy_programs(self.folder)
        for plugin in plugins:
            shutil.copy(plugin_path(plugin), server.plugin_folder)
        for path in (self.folder, server.folder, server.plugin_folder):
            os.chmod(path, 0o755)
        server.config = self.path("sluice.ini")
        self.write_config(server, user, config)
        server.args += ["-c", server.config]
        return server

    def write_config(self, server, user, config="", host=""):
        with open(server.config, "w", encoding="ascii") as file:
            file.write("[host]\n" + (f"user = {user}\n" if user else "") + host + "\n" + config)
        os.chmod(server.config, 0o644)

    def serve_as_root(self, *plugins, **more):
        server = self.prepare_as_root(*plugins, **more)
        server.start()
        return server

    def restart(self, server):
        server.stop()
        server.is_stopped = False
        server.start()

    def knock(self, server, door, **more):
        answer = server.post("e2e_doors", {"door": door, **more}, "?mode=wait")
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()["result"]

    def command(self, server, *args, status=0):
        ended = run_sluice(*args, "--admin", server.admin)
        self.assertEqual(ended.returncode, status, (ended, server.log()))
        return ended.stdout.decode() + ended.stderr.decode()

    def check_is(self, pid, user, **capabilities):
        """Each of the process's threads is the user, with these capabilities and no others."""
        wanted = {"Uid": "\t".join([str(user.pw_uid)] * 4), "Gid": "\t".join([str(user.pw_gid)] * 4),
                  **{name: f"{capabilities.get(name, 0):016x}" for name in CAPABILITIES}}
        count = 0
        for thread in threads_of(pid):
            self.assertEqual({name: thread[name] for name in wanted}, wanted, thread["Name"])
            self.assertEqual(sorted(map(int, thread["Groups"].split())), groups_of(user))
            count += 1
        return count

    def check_guarded(self, pid):
        """Only root's are the files in /proc of a process that cannot be dumped."""
        if not SANITIZED:
            self.assertEqual(os.stat(f"/proc/{pid}/environ").st_uid, 0)


class SameUserTest(UserTest):
    """Plugins are the server's user, too."""

    def test_nothing_of_root_is_left(self):
        server = self.serve_as_root("e2e_doors", "echo", settings={"host.debug": "no"})
        self.assertEqual(server.lines(" warn "), [])
        self.assertTrue(server.lines("another user from now on user=nobody uid=65534"))
        self.assertGreater(self.check_is(server.process.pid, NOBODY), 1, "threads of the pool")
        worker = server.worker_of("echo")
        for pid in server.workers():
            self.check_is(pid, NOBODY)
        for pid in server.pids():
            self.check_guarded(pid)
        known = self.knock(server, "self")
        self.assertEqual((known["uid"], known["no_new_privs"]), (NOBODY.pw_uid, 1))
        self.assertNotIn("became", known)
        self.assertEqual(self.knock(server, "variable", name="HOME")["answer"], NOBODY.pw_dir)
        found = self.knock(server, "socket", path=server.admin, text='{"command":"list"}')
        self.assertNotIn('"ok":true', found["answer"])
        for pid in (server.process.pid, worker):
            for door in MEMORY_DOORS + (("signal",) if LANDLOCK >= 6 else ()):
                self.assertIn(self.knock(server, door, pid=pid)["result"], CLOSED, door)
        self.assertEqual(read_proc(worker, "oom_score_adj"), b"500\n")

    def test_it_works_on(self):
        """A crash, a swap, a reload, a drain that is kept, a restart, a stop; nothing stays behind."""
        server = self.serve_as_root("ticker", "echo")
        old = server.worker_of("echo")
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: server.serving("echo") not in ([], [old]), "another worker")
        new = shutil.copy(plugin_path("ticker"), self.path("new"))
        os.rename(new, os.path.join(server.plugin_folder, "ticker.so"))
        wait_for(lambda: server.lines("now serving", "plugin=ticker", "generation=2"), "the swap")
        self.assertEqual(self.command(server, "reload"), "")
        self.command(server, "drain", "echo")
        state = os.path.join(server.plugin_folder, ".sluice", "echo", "state")
        wait_for(lambda: os.path.exists(state), "it is kept")
        self.assertEqual(os.stat(state).st_uid, NOBODY.pw_uid)
        for path in (server.admin, os.path.dirname(server.admin)):
            self.assertEqual((os.stat(path).st_uid, os.stat(path).st_mode & 0o077), (NOBODY.pw_uid, 0))
        self.restart(server)
        self.assertEqual(server.report()["echo"]["state"], "drained")
        self.command(server, "reload", "echo")
        self.assertEqual(server.run("echo", {"text": "on"})[-1].json()["status"], "finished")
        server.stop()
        self.assertEqual(os.listdir(os.path.dirname(server.admin)), [])

    def test_what_root_has_kept_is_its_users(self):
        server = self.serve_as_root("echo", user="")
        self.command(server, "drain", "echo")
        state = os.path.join(server.plugin_folder, ".sluice", "echo", "state")
        wait_for(lambda: os.path.exists(state), "it is kept")
        self.write_config(server, "nobody")
        self.restart(server)
        self.assertEqual(server.report()["echo"]["state"], "drained")

    def test_a_group_may_be_named(self):
        path = self.path("http.sock")
        server = self.serve_as_root("echo", user="nobody:daemon",
                                    settings={"host.listen": f"127.0.0.1:0,unix:{path}"})
        thread = next(threads_of(server.process.pid))
        self.assertEqual(thread["Gid"], "\t".join([str(DAEMON.pw_gid)] * 4))
        found = os.stat(path)
        self.assertEqual((found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)),
                         (NOBODY.pw_uid, DAEMON.pw_gid, 0o660))


class OtherUserTest(UserTest):
    """A plugin has a user of its own."""

    CONFIG = "[plugin e2e_doors]\nuser = daemon\n"

    def test_only_the_front_may_still_switch(self):
        server = self.serve_as_root("e2e_doors", "echo", config=self.CONFIG, settings={"host.debug": "no"})
        switch = SETUID | SETGID
        self.check_is(server.process.pid, NOBODY, CapPrm=switch | KILL, CapEff=switch | KILL, CapInh=switch,
                      CapAmb=switch)
        own, other = server.worker_of("e2e_doors"), server.worker_of("echo")
        self.check_is(own, DAEMON)
        self.check_is(other, NOBODY)
        for pid in server.pids():
            self.check_guarded(pid)
        known = self.knock(server, "self")
        self.assertEqual((known["uid"], known["no_new_privs"]), (DAEMON.pw_uid, 1))
        self.assertNotIn("became", known)
        self.assertEqual(self.knock(server, "variable", name="HOME")["answer"], DAEMON.pw_dir)
        for pid in (server.process.pid, other):
            for door in ("signal", *MEMORY_DOORS):
                self.assertIn(self.knock(server, door, pid=pid)["result"], CLOSED, door)
        self.assertIn(self.knock(server, "socket", path=server.admin, text="{}")["result"], CLOSED)

    def test_the_front_ends_what_is_another_users(self):
        """What a worker left when it died, and at the end."""
        server = self.serve_as_root("e2e_doors", config=self.CONFIG)
        worker, left = server.worker_of("e2e_doors"), self.knock(server, "daemon")["pid"]
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: not exists(left), "the front kills what the worker left")
        wait_for(lambda: server.serving("e2e_doors") not in ([], [worker]), "another worker")
        left = self.knock(server, "daemon")["pid"]
        server.stop()
        self.assertFalse(exists(left))

    @unittest.skipIf(LANDLOCK < 4, "this kernel has no Landlock, or one without TCP")
    def test_sandbox(self):
        """Of paths that the plugin's user alone may reach."""
        private = self.path("private")
        os.makedirs(os.path.join(private, "inner"), 0o700)
        with open(os.path.join(private, "inner", "file"), "wb"):
            pass
        for path in (private, os.path.join(private, "inner")):
            os.chown(path, DAEMON.pw_uid, DAEMON.pw_gid)
        server = self.serve_as_root("e2e_doors", config=self.CONFIG + "sandbox = yes\nsandbox_read = "
                                    + os.path.join(private, "inner") + "\n")
        self.assertEqual(self.knock(server, "read", path=os.path.join(private, "inner", "file"))["result"], "ok")
        self.assertEqual(self.knock(server, "read", path=server.config)["result"], "EACCES")
        self.assertEqual(self.knock(server, "port", port=server.address[1])["result"], "EACCES")


class ReloadTest(UserTest):
    """What only root can do is done once, and a reload says so."""

    def prepare_locked(self, **more):
        """Keys and tokens are root's alone; a port of root's, in a network of its own."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.addCleanup(os.close, home)
        os.close(cable.new_namespace())
        self.addCleanup(cable.enter, home)
        cable.ip("link", "set", "lo", "up")
        identity, tokens = Identity(self.folder, "first"), self.path("tokens")
        ended = run_sluice("token", "one")
        self.token = {"Authorization": "Bearer " + ended.stderr.decode().split()[-1]}
        with open(tokens, "wb") as file:
            file.write(ended.stdout)
        for path in (tokens, identity.key):
            os.chmod(path, 0o600)
        server = self.prepare_as_root("echo", tls=identity, settings={
            "host.listen": "127.0.0.1:443", "host.tokens": tokens, "host.strict_modes": "yes"}, **more)
        return server, identity, tokens

    def check_serves(self, server):
        answer = server.post("echo", {"text": "on"}, "?mode=wait", headers=self.token)
        self.assertEqual((answer.status, answer.json()["status"]), (200, "finished"))

    def test_files_of_root(self):
        server, identity, tokens = self.prepare_locked()
        server.start()
        self.check_serves(server)
        self.assertEqual(self.command(server, "reload"), "", "nothing has changed")
        second = Identity(self.folder, "second")
        os.rename(second.certificate, identity.certificate)
        os.rename(second.key, identity.key)
        with open(tokens, "wb"):
            os.utime(tokens)
        told = self.command(server, "reload", status=NEEDS_RESTART)
        self.assertEqual(told.split("\n")[:-1], [f"needs a restart: host.{key}" for key in
                                                 ("tokens", "tls_certificate", "tls_key")])
        self.check_serves(server)  # with the old certificate, to whom has an old token

    def test_settings(self):
        server, _, _ = self.prepare_locked()
        server.start()
        self.write_config(server, "daemon", "[plugin echo]\nuser = daemon\nthreads = 7\n", "stall = 7\n")
        told = self.command(server, "reload", status=1)
        for line in ("applied:         host.stall", "applied:         plugin.echo.threads",
                     "needs a restart: host.user", "needs a restart: plugin.echo.user",
                     "may not become another one; the server must be started by root"):
            self.assertIn(line, told)
        self.check_serves(server)  # as it was
        self.check_is(server.worker_of("echo"), NOBODY)
        os.chmod(server.config, 0o600)
        self.assertIn(f"{server.config}: cannot be read: Permission denied",
                      self.command(server, "reload", status=1))
        self.check_serves(server)
        server.signal(signal.SIGTERM)
        server.check_end()

    def test_a_new_path_must_be_readable(self):
        server, identity, tokens = self.prepare_locked()
        server.start()
        other = shutil.copy(tokens, self.path("other"))
        os.chmod(other, 0o600)
        at = server.args.index(f"host.tokens={tokens}")
        self.assertGreater(at, 0)
        del server.args[at - 1:at + 1]
        server.stop()
        server.is_stopped = False
        self.write_config(server, "nobody", host=f"tokens = {tokens}\n")
        server.start()
        self.write_config(server, "nobody", host=f"tokens = {other}\n")
        self.assertIn(f"{other}: cannot be read: Permission denied", self.command(server, "reload", status=1))
        self.check_serves(server)


class RefusalTest(UserTest):
    def check_refused(self, server, *words):
        server.start_process()
        self.assertEqual(server.wait(), 1)
        server.is_stopped = True
        for word in words:
            self.assertIn(word, server.log())

    def as_user(self, server, user):
        for path in (self.folder, server.folder, server.plugin_folder):
            os.chown(path, user.pw_uid, user.pw_gid)
        server.as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def test_unknown(self):
        for text in ("no-such-user", "nobody:no-such-group"):
            server = self.prepare_as_root("echo", settings={"host.user": text})
            self.check_refused(server, "user must be the name of a user of this machine", f"not '{text}'")

    def test_only_root_becomes_another(self):
        server = self.prepare_as_root("echo", user="daemon")
        self.as_user(server, NOBODY)
        self.check_refused(server, "host.user = daemon: this process is user 65534 and may not become another one; "
                           "the server must be started by root for that")

    def test_who_is_that_user_stays(self):
        server = self.prepare_as_root("echo")
        self.as_user(server, NOBODY)
        server.start()
        self.assertEqual(server.run("echo", {"text": "on"})[-1].json()["status"], "finished")

    def test_root_stays_root(self):
        server = self.serve_as_root("echo", user="root")
        self.assertTrue(server.lines(" warn ", "running as root", "host.user"))

    def test_the_user_may_not_execute_the_binary(self):
        server = self.prepare_as_root("echo")
        os.chmod(server.args[0], 0o700)
        self.check_refused(server, "host.user = nobody: this user may not execute the sluice binary")

    def test_check(self):
        """As the user that the server would be."""
        server = self.prepare_as_root("echo")
        checked = subprocess.run([*server.args, "-n"], capture_output=True, check=False, env=server.env)
        self.assertEqual((checked.returncode, b"fit to serve" in checked.stdout), (0, True), checked)
        os.chmod(server.plugin_folder, 0o700)
        checked = subprocess.run([*server.args, "-n"], capture_output=True, check=False, env=server.env)
        self.assertEqual(checked.returncode, 1)
        self.assertIn(b"cannot read the plugin folder", checked.stderr)

    def test_files_with_another_name_are_not_given(self):
        """Whoever owns the socket's folder gets no file of root's by a link."""
        folder, secret = self.path("sockets"), self.path("secret")
        admin = os.path.join(folder, "admin.sock")
        server = self.prepare_as_root("echo", settings={"host.admin": admin})
        os.mkdir(folder, 0o700)
        with open(secret, "wb") as file:
            file.write(b"secret")
        os.link(secret, admin + ".lock")
        os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
        server.start()
        self.assertTrue(server.lines(" warn ", "admin socket not opened"))
        with open(secret, "rb") as file:
            self.assertEqual((file.read(), os.stat(secret).st_uid), (b"secret", 0))


if __name__ == "__main__":
    main()
