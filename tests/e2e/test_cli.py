#!/usr/bin/python3
"""The command line: what it prints, and its exit status."""

import hashlib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import tty

from harness import (BINARY, PATIENCE_S, Test, main, plugin_path, read_stream, run_sluice, text_of,
                     types, wait_for)

EMIT = '{"calls":[{"op":"text","text":"hello "},{"op":"text","text":"\u2603\\n"}]}'
FAIL = '{"calls":[{"op":"text","text":"so far"},{"op":"fail","code":"no_luck","message":"bad"}]}'


class CliTest(Test):
    def check(self, args, status, stdout="", stderr="", stdin=b"", cwd=None):
        """Both outputs are what these patterns match."""
        ended = run_sluice(*args, stdin=stdin, cwd=cwd)
        said = f"{ended.args[1:]}: {ended.stdout!r} {ended.stderr!r}"
        self.assertEqual(ended.returncode, status, said)
        self.assertRegex(ended.stdout.decode(), f"(?s)\\A{stdout}\\Z", said)
        self.assertRegex(self.without_asan(ended.stderr.decode()), f"(?s)\\A{stderr}\\Z", said)
        return ended

    def without_asan(self, text):
        """Without what AddressSanitizer says at the first fiber of a process."""
        return re.sub(r"==\d+==WARNING: ASan doesn't fully support makecontext.*\n", "", text)


class HelpTest(CliTest):
    COMMANDS = ("serve", "run", "check", "token")

    def test_help(self):
        for option in ("--help", "-h", "help"):
            ended = self.check([option], 0, "usage: sluice COMMAND.*")
            for command in self.COMMANDS:
                self.assertIn(f"\n  {command} ", ended.stdout.decode())

    def test_help_of_each_command(self):
        for command in self.COMMANDS:
            for option in ("--help", "-h"):
                with self.subTest(command=command):
                    self.check([command, option], 0, f"usage: sluice {command} .*-h, --help.*\n")

    def test_help_names_every_option(self):
        options = {"serve": ("-c", "--config", "--listen", "--plugins", "--set", "-n", "-v"),
                   "run": ("--text", "-c", "--set", "-v"), "check": ("-c", "--set", "-v")}
        for command, names in options.items():
            text = run_sluice(command, "--help").stdout.decode()
            for name in names:
                with self.subTest(command=command, option=name):
                    self.assertRegex(text, rf"(?m)^ +(-\w, )?{name}\b")

    def test_help_is_within_a_terminal(self):
        for args in (["--help"], *([command, "--help"] for command in self.COMMANDS)):
            for line in run_sluice(*args).stdout.decode().splitlines():
                self.assertLessEqual(len(line), 80, line)

    def test_version(self):
        self.check(["--version"], 0, r"sluice \d+\.\d+\S*\n")

    def test_nothing_asked(self):
        self.check([], 2, "", "usage: sluice COMMAND.*")

    def test_unknown_command(self):
        for command in ("sevre", "--nothing", "-x", ""):
            self.check([command], 2, "", f"sluice: .*'{command}'\ntry: sluice --help\n")

    def test_unknown_option(self):
        for command in self.COMMANDS:
            with self.subTest(command=command):
                self.check([command, "--nothing"], 2, "", f".*nothing.*try: sluice {command} --help\n")

    def test_option_without_its_value(self):
        for args in (["serve", "--listen"], ["serve", "-c"], ["run", "--set"], ["check", "-c"]):
            self.check(args, 2, "", f".*requires an argument.*try: sluice {args[0]} --help\n")

    def test_too_many_arguments(self):
        plugin = plugin_path("e2e_emit")
        self.check(["serve", "extra"], 2, "", ".*'extra'.*try: sluice serve --help\n")
        self.check(["run", plugin, "{}", "extra"], 2, "", ".*try: sluice run --help\n")
        self.check(["check", plugin, plugin], 2, "", ".*try: sluice check --help\n")
        self.check(["token", "alice", "bob"], 2, "", ".*try: sluice token --help\n")

    def test_too_few_arguments(self):
        for command in ("run", "check"):
            self.check([command], 2, "", f".*PLUGIN.so.*try: sluice {command} --help\n")
        self.check(["token"], 2, "", ".*SUBJECT.*try: sluice token --help\n")

    def test_role_of_a_worker_is_not_for_people(self):
        ended = run_sluice("worker")
        self.assertNotEqual(ended.returncode, 0)
        self.assertIn(b"not by hand", ended.stderr)


class ServeTest(CliTest):
    def write(self, text):
        with open(self.path("sluice.ini"), "w") as file:
            file.write(text)

    def test_taken_port(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            self.check(["serve", "--listen", address, "--plugins", self.folder], 1, "",
                       f".*sluice: cannot listen on {re.escape(address)}: Address already in use\n")

    def test_missing_plugin_folder(self):
        for path, reason in ((self.path("none"), "No such file or directory"),
                             ("/etc/passwd", "Not a directory")):
            self.check(["serve", "--listen", "127.0.0.1:0", "--plugins", path], 1, "",
                       f".*sluice: cannot read the plugin folder {path}: {reason}\n")

    def test_bad_line_of_the_file(self):
        for text, line, word in (("[host]\nlisten 127.0.0.1:0\n", 2, ".*"),
                                 ("[host]\n\n# x\nlisen = 1\n", 4, ".*unknown key 'lisen'.*"),
                                 ("[plugin echo]\nthreads = many\n", 2, ".*1 to 4096.*"),
                                 ("[plugins echo]\n", 1, ".*not a section.*"),
                                 ("heartbeat = 1\n", 1, ".*"),
                                 ("[host]\nheartbeat = 1\nheartbeat = 2\n", 3, ".*")):
            with self.subTest(text=text):
                self.write(text)
                for args in (["serve", "-n"], ["serve"]):
                    self.check([*args, "-c", "sluice.ini"], 1, "", f"sluice: sluice.ini:{line}: {word}\n",
                               cwd=self.folder)

    def test_missing_file(self):
        self.check(["serve", "-n", "-c", "/none.ini"], 1, "",
                   "sluice: /none.ini: .*No such file or directory\n")

    def test_bad_setting(self):
        for setting, word in (("host.lisen=x", "unknown key 'lisen'"), ("host.max_body=65M", "64M"),
                              ("nonsense", ".*"), ("host.listen=localhost:80", "numeric"),
                              ("plugin.ask.threads=0", "1 to 4096"), ("host.heartbeat=", "3600"),
                              ("plugin.=x", ".*")):
            with self.subTest(setting=setting):
                self.check(["serve", "-n", "--set", setting], 1, "",
                           f"sluice: --set {re.escape(setting)}: .*{word}.*\n")

    def test_bad_address(self):
        for address in ("localhost:8080", "8080", "127.0.0.1", "127.0.0.1:99999", "[::1]", ""):
            with self.subTest(address=address):
                self.check(["serve", "-n", "--listen", address], 1, "", "sluice: .*listen.*ADDRESS:PORT.*\n")

    def test_only_check(self):
        self.write("[host]\nlisten = 127.0.0.1:0\n[plugin echo]\nseparator = -\n")
        for option in ("-n", "--check"):
            self.check(["serve", option, "-c", "sluice.ini", "--set", "host.heartbeat=3",
                        "--plugins", self.folder], 0, "the configuration is fine\n",
                       "sluice: warning: no plugin .*\n", cwd=self.folder)

    def test_only_check_tries_each_plugin(self):
        for name in ("e2e_emit", "fault_abi", "fault_create"):
            os.symlink(plugin_path(name), self.path(name + ".so"))
        self.check(["serve", "-n", "--plugins", self.folder], 1,
                   "e2e_emit 1.0, thread mode: fit to serve\n",
                   ".*fault_abi.so is not fit to serve: .*fault_create.so is not fit to serve: .*")
        os.remove(self.path("fault_abi.so"))
        os.remove(self.path("fault_create.so"))
        self.check(["serve", "-n", "--plugins", self.folder], 0, ".*fine\n")

    def test_only_check_looks_for_the_folder(self):
        for path, reason in ((self.path("none"), "No such file or directory"),
                             ("/etc/passwd", "Not a directory")):
            self.check(["serve", "-n", "--plugins", path], 1, "",
                       f"sluice: cannot read the plugin folder {path}: {reason}\n")

    def test_only_check_doubts_keys(self):
        self.check(["serve", "-n", "--plugins", self.folder, "--set", "plugin.x.memory_limt=3"], 0,
                   ".*fine\n", ".*warning: plugin.x.memory_limt .* did you mean memory_limit\\?\n.*")

    def test_command_line_goes_before_the_file(self):
        self.write("[host]\nlisten = 127.0.0.1:1\nplugins = /none\nheartbeat = 3\n"
                   "[plugin e2e_ctx]\nfrom = file\nonly = here\n")
        server = self.prepare("e2e_ctx", settings={"plugin.e2e_ctx.from": "command line"})
        server.args += ["-c", self.path("sluice.ini")]
        server.start()
        config = next(event.json() for event in server.run("e2e_ctx", {}) if event.type == "config")
        self.assertEqual(config, {"from": "command line", "only": "here"})

    def test_defaults_are_a_file(self):
        self.write(run_sluice("serve", "--defaults").stdout.decode())
        self.check(["serve", "-n", "-c", "sluice.ini", "--plugins", self.folder], 0, ".*fine\n", ".*",
                   cwd=self.folder)

    def test_ipv6(self):
        server = self.prepare("e2e_emit")
        server.args[server.args.index("127.0.0.1:0")] = "[::1]:0"
        server.find_address = lambda: re.search(r"^sluice: listening on http://\[::1\]:(\d+)$",
                                                server.log(), re.M)
        server.start()
        port = int(server.find_address()[1])
        with socket.create_connection(("::1", port), PATIENCE_S) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 200 "))

    def test_only_one_line_without_verbose_is_for_programs(self):
        server = self.prepare("e2e_emit")
        server.args.remove("-v")
        server.start()
        self.assertEqual(len(re.findall(r"(?m)^sluice: ", server.log())), 1)
        self.assertFalse(server.lines(" debug "))


class TokenTest(CliTest):
    SHOWN = r"sluice: the token of alice follows; .*\n(slc_[0-9a-f]{64})\n"

    def make(self):
        """A new token, and its line."""
        ended = self.check(["token", "alice"], 0, "alice:[0-9a-f]{64}\n", self.SHOWN)
        return re.fullmatch(self.SHOWN, ended.stderr.decode())[1], ended.stdout.decode()

    def test_line_has_the_hash_of_the_token(self):
        token, line = self.make()
        self.assertEqual(line, f"alice:{hashlib.sha256(token.encode()).hexdigest()}\n")

    def test_each_token_is_another(self):
        self.assertEqual(len({token for token, _ in (self.make() for _ in range(8))}), 8)

    def test_bad_subject(self):
        for subject in ("", "a b", "a:b", "x" * 65, "\u00fc"):
            with self.subTest(subject=subject):
                self.check(["token", subject], 2, "",
                           "sluice token: SUBJECT must be 1 to 64 .*try: sluice token --help\n")

    def test_token_is_not_shown_if_its_line_is_lost(self):
        with open("/dev/full", "w") as full:
            ended = subprocess.run([BINARY, "token", "alice"], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(ended.returncode, 1)
        self.assertRegex(ended.stderr, rb"\Asluice: .*No space left on device\n\Z")


def read_events(output):
    """What `sluice run` prints is a stream without its beginning."""
    run = re.match(rb"event: run\ndata: .*\nid: ([0-9a-z]{26})\.1\n", output)[1]
    return read_stream(b"retry: 1000\nid: " + run + b".0\n\n" + output)


def is_asleep(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


class RunTest(CliTest):
    def test_native_stream(self):
        ended = self.check(["run", plugin_path("e2e_emit"), EMIT], 0, ".*")
        events = read_events(ended.stdout)
        self.assertEqual(types(events), ["run", "text", "text", "returns", "done"])
        self.assertEqual(text_of(events), "hello \u2603\n")
        self.assertEqual(events[-1].json(), {"status": "finished"})

    def test_text(self):
        self.check(["run", "--text", plugin_path("e2e_emit"), EMIT], 0, "hello \u2603\n")

    def test_input_from_standard_input(self):
        self.check(["run", "--text", plugin_path("e2e_emit"), "-"], 0, "hello \u2603\n",
                   stdin=EMIT.encode())

    def test_input_may_be_left_out(self):
        ended = self.check(["run", plugin_path("e2e_ctx")], 0, ".*")
        self.assertEqual(types(read_events(ended.stdout)),
                         ["run", "config", "returns", "ctx", "done"])

    def test_fiber_plugin(self):
        self.check(["run", plugin_path("ticker"), '{"count":2,"period_ms":1}'], 0,
                   ".*event: tick.*event: tick.*event: done\n.*")

    def test_failed_run(self):
        self.check(["run", plugin_path("e2e_emit"), FAIL], 1,
                   '.*event: done\ndata: {"status":"failed","error":{"code":"no_luck",'
                   '"message":"bad"}}\nid: [^\n]*\n\n')
        self.check(["run", "--text", plugin_path("e2e_emit"), FAIL], 1, "so far",
                   "sluice: .*no_luck.*bad.*\n")

    def test_bad_input(self):
        self.check(["run", plugin_path("e2e_emit"), "question"], 2, "", "sluice: .*not JSON.*\n")
        self.check(["run", plugin_path("e2e_emit"), "-"], 2, "", "sluice: .*not JSON.*\n", b"{\xff")
        self.check(["run", plugin_path("e2e_emit"), "-"], 2, "", "sluice: .*not JSON.*\n", b"{}\0x")

    def test_input_that_is_too_large(self):
        ended = run_sluice("run", plugin_path("e2e_emit"), "-", stdin=b" " * (2 << 20))
        self.assertNotEqual(ended.returncode, 0)
        self.assertIn(b"1 MiB", ended.stderr)

    def test_missing_plugin(self):
        self.check(["run", "/none/agent.so"], 1, "", ".*/none/agent.so.*No such file.*\n")

    def test_bad_plugin(self):
        self.check(["run", plugin_path("fault_create")], 1, "", ".*the index /srv/books is not there.*\n")
        self.check(["run", plugin_path("fault_abi")], 1, "", ".*fault_abi.so.*ABI 7.3.*\n")

    def test_configuration_of_the_plugin(self):
        with open(self.path("sluice.ini"), "w") as file:
            file.write("[host]\nheartbeat = 3\n[plugin e2e_ctx]\nfrom = file\n")
        for args, value in ((["-c", self.path("sluice.ini")], "file"),
                            (["--set", "plugin.e2e_ctx.from=line"], "line")):
            self.check(["run", *args, plugin_path("e2e_ctx")], 0,
                       f'.*event: config\ndata: {{"from":"{value}"}}\n.*')

    def test_interrupt_cancels_the_run(self):
        for agent in ("e2e_watch", "e2e_watch_fiber"):
            with self.subTest(agent=agent):
                self.check_interrupt(agent)

    def test_terminal_that_is_slow(self):
        """It gets everything, and is left as it was, though standard input may be asked."""
        ours, terminal = pty.openpty()
        tty.setraw(terminal)
        process = subprocess.Popen([BINARY, "run", plugin_path("ticker"),
                                    '{"count":3000,"period_ms":0}'],
                                   stdin=terminal, stdout=terminal,
                                   stderr=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        wait_for(lambda: select.select([ours], [], [], 0)[0] and is_asleep(process.pid),
                 "the terminal is full")
        said = b""
        while process.poll() is None or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0.1)[0]:
                said += os.read(ours, 65536)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(len(read_events(said)), 3002)
        self.assertTrue(os.get_blocking(terminal))
        os.close(ours)
        os.close(terminal)

    def test_output_that_is_full(self):
        with open("/dev/full", "wb") as full:
            ended = subprocess.run([BINARY, "run", plugin_path("e2e_emit"), EMIT], stdout=full,
                                   stderr=subprocess.PIPE, timeout=PATIENCE_S)
        self.assertEqual(ended.returncode, 1)
        self.assertIn(b"No space left on device", ended.stderr)

    def check_interrupt(self, agent):
        process = subprocess.Popen([BINARY, "run", plugin_path(agent), '{"how":"sleep"}'],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        said = self.read_until(process, rb"event: ready\ndata: \{\}\nid: .*\n\n\Z")
        process.send_signal(signal.SIGINT)
        said += process.stdout.read()
        self.assertEqual(process.wait(PATIENCE_S), 1)
        self.assertRegex(said, rb'event: done\ndata: {"status":"cancelled","reason":"client"}\nid: .*\n\n\Z')

    def read_until(self, process, end):
        """What it prints comes at once, not when a buffer is full."""
        said = b""
        while not re.search(end, said):
            self.assertTrue(select.select([process.stdout], [], [], PATIENCE_S)[0], said)
            piece = os.read(process.stdout.fileno(), 4096)
            self.assertTrue(piece, said)
            said += piece
        return said

    def test_closed_pipe_ends_it(self):
        """`sluice run ... | head -1` does not go on for ever."""
        process = subprocess.Popen([BINARY, "run", plugin_path("e2e_watch"), '{"how":"emit"}'],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(process.kill)
        self.read_until(process, b"\n")
        process.stdout.close()
        wait_for(lambda: process.poll() is not None, "it ends")
        self.assertNotEqual(process.returncode, 0)


if __name__ == "__main__":
    main()
