#!/usr/bin/python3
"""Who may ask: clients by their token, web pages by their origin."""

import hashlib
import os
import re
import signal

from harness import Connection, Test, main, request_bytes, run_sluice, wait_for

FINE = {"calls": [{"op": "text", "text": "fine"}]}
NO_TOKEN = "send a token, as Authorization: Bearer TOKEN"
BAD_TOKEN = "the token is not one of this server's"
CHALLENGE = 'Bearer realm="sluice"'
APP = "https://app.example"
LOCAL = "http://localhost:5173"


def line_of(subject, token):
    return f"{subject}:{hashlib.sha256(token.encode()).hexdigest()}\n"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


class AccessTest(Test):
    def ask(self, path, headers=None, method="GET", body=None):
        with self.server.connect() as connection:
            return connection.exchange(method, path, body, headers)

    def write_tokens(self, text):
        with open(self.path("tokens"), "w") as file:
            file.write(text)

    def serve_tokens(self, text, **settings):
        self.write_tokens(text)
        self.server = self.serve("e2e_emit", settings={"host.tokens": self.path("tokens"),
                                                       **settings})


class TokenTest(AccessTest):
    def setUp(self):
        super().setUp()
        self.serve_tokens("# who\n\n" + line_of("alice", "one") + line_of("bob", "two"),
                          **{"host.max_body": 4096})

    def check_refused(self, answer, presented):
        self.check_problem(answer, 401, "Unauthorized", BAD_TOKEN if presented else NO_TOKEN)
        self.assertEqual(answer.headers["www-authenticate"],
                         CHALLENGE + ', error="invalid_token"' * presented)

    def test_right_token(self):
        for token in ("one", "two"):
            self.assertEqual(self.ask("/agents", bearer(token)).status, 200)

    def test_missing_token(self):
        for method, path in (("GET", "/agents"), ("GET", "/runs/x"), ("GET", "/runs/x/events"),
                             ("POST", "/agents/e2e_emit/runs"), ("POST", "/runs/x/cancel"),
                             ("POST", "/runs/x/input")):
            with self.subTest(path=path):
                self.check_refused(self.ask(path, method=method), False)

    def test_a_path_or_method_that_there_is_not_needs_no_token(self):
        for method, path, status in (("GET", "/nothing", 404), ("GET", "/", 404),
                                     ("GET", "/healthz/", 404), ("GET", "/readyzz", 404),
                                     ("GET", "/agents/e2e_emit/runs", 405),
                                     ("PUT", "/agents", 405)):
            with self.subTest(path=path):
                self.assertEqual(self.ask(path, method=method).status, status)

    def test_body_is_not_waited_for(self):
        with self.server.connect() as connection:
            connection.send(b"POST /agents/e2e_emit/runs HTTP/1.1\r\nHost: localhost\r\n"
                            b"Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n")
            self.check_refused(connection.response(), False)

    def test_wrong_token(self):
        for token in ("three", "on", "one.", "ONE", "alice", "one two",
                      hashlib.sha256(b"one").hexdigest()):
            with self.subTest(token=token):
                self.check_refused(self.ask("/agents", bearer(token)), True)

    def test_scheme(self):
        for scheme in ("Bearer", "bearer", "BEARER", "bEARER"):
            self.assertEqual(self.ask("/agents", {"Authorization": f"{scheme} one"}).status, 200)
        self.assertEqual(self.ask("/agents", {"Authorization": "Bearer   one"}).status, 200)
        for value in ("Basic one", "one", "Bearer", "Bearerone", "Token one", ""):
            with self.subTest(value=value):
                self.check_refused(self.ask("/agents", {"Authorization": value}), False)

    def test_run(self):
        events = self.server.run("e2e_emit", FINE, bearer("one"))
        self.assertEqual(events[-1].json(), {"status": "finished"})
        self.check_refused(self.server.post("e2e_emit", FINE), False)
        self.check_refused(self.server.post("e2e_emit", FINE, headers=bearer("three")), True)

    def test_too_large_body_without_a_token(self):
        self.check_refused(self.server.post("e2e_emit", b" " * 5000), False)
        self.assertEqual(self.server.post("e2e_emit", b" " * 5000, headers=bearer("one")).status,
                         413)

    def test_head(self):
        self.assertEqual(self.ask("/agents", bearer("one"), "HEAD").status, 200)
        answer = self.ask("/agents", method="HEAD")
        self.assertEqual((answer.status, answer.body), (401, b""))
        self.assertEqual(answer.headers["www-authenticate"], CHALLENGE)

    def test_other_methods(self):
        for headers in ({}, bearer("one")):
            self.assertEqual(self.ask("/agents", headers, "DELETE").status, 405)
            self.assertEqual(self.ask("/agents", headers, "OPTIONS").status, 405)

    def test_health_needs_no_token(self):
        for path in ("/healthz", "/readyz"):
            for method in ("GET", "HEAD"):
                for headers in ({}, bearer("three")):
                    self.assertEqual(self.ask(path, headers, method).status, 200)

    def test_token_in_the_query_of_events(self):
        self.assertEqual(self.ask("/runs/x/events?access_token=one").status, 404)
        self.assertEqual(self.ask("/runs/x/events?after=1&access_token=one").status, 404)
        self.check_refused(self.ask("/runs/x/events?access_token=three"), True)
        self.check_refused(self.ask("/runs/x/events?access_token="), True)
        self.check_refused(self.ask("/runs/x/events?token=one"), False)

    def test_header_goes_before_the_query(self):
        self.assertEqual(self.ask("/runs/x/events?access_token=three", bearer("one")).status, 404)
        self.check_refused(self.ask("/runs/x/events?access_token=one", bearer("three")), True)

    def test_token_in_another_query(self):
        for path in ("/agents", "/runs/x", "/runs/events"):
            with self.subTest(path=path):
                self.check_refused(self.ask(f"{path}?access_token=one"), False)
        for path in ("/runs//events", "/runs/x/events/", "/runs/x/y/events", "/x/runs/x/events"):
            with self.subTest(path=path):
                self.assertEqual(self.ask(f"{path}?access_token=one").status, 404)
        self.check_refused(self.server.post("e2e_emit", FINE, "?access_token=one"), False)
        self.assertEqual(self.ask("/runs/x/events?access_token=one", method="POST").status, 405)

    def test_tokens_are_not_in_the_log(self):
        self.ask("/agents", bearer("a-wrong-token"))
        self.ask("/runs/x/events?access_token=another-wrong-token")
        self.assertNotIn("wrong-token", self.server.log())


class ReloadTest(AccessTest):
    def setUp(self):
        super().setUp()
        self.serve_tokens(line_of("alice", "one"))

    def status(self, token):
        return self.ask("/agents", bearer(token)).status

    def hang_up(self, condition, what):
        self.server.signal(signal.SIGHUP)
        wait_for(condition, what)

    def test_added_and_removed(self):
        self.assertEqual((self.status("one"), self.status("two")), (200, 401))
        self.write_tokens(line_of("alice", "one") + line_of("alice", "two"))
        self.hang_up(lambda: self.status("two") == 200, "the added token is right")
        self.assertEqual(self.status("one"), 200)
        self.write_tokens(line_of("alice", "two"))
        self.hang_up(lambda: self.status("one") == 401, "the removed token is wrong")
        self.assertEqual(self.status("two"), 200)

    def test_made_by_the_command(self):
        made = run_sluice("token", "bob")
        token = made.stderr.decode().splitlines()[-1]
        self.write_tokens(made.stdout.decode())
        self.hang_up(lambda: self.status(token) == 200, "the token that was made is right")

    def test_broken_file_keeps_the_old(self):
        self.write_tokens(line_of("alice", "two") + "nonsense\n")
        self.hang_up(lambda: self.server.lines("configuration refused", "tokens:2: no ':' in this line"),
                     "the file is refused")
        self.assertEqual((self.status("one"), self.status("two")), (200, 401))

    def test_missing_file_keeps_the_old(self):
        os.unlink(self.path("tokens"))
        ended = run_sluice("reload", "--admin", self.server.admin)
        self.assertEqual(ended.returncode, 1)
        self.assertEqual(ended.stderr.decode(), f"sluice: {self.path('tokens')}: cannot be read: "
                                                "No such file or directory\n")
        self.assertEqual(self.status("one"), 200)

    def test_refused_tokens_keep_all_of_the_old(self):
        """A configuration is taken whole or not at all."""
        config = self.path("sluice.ini")
        with open(config, "w") as file:
            file.write(f"[host]\ntokens = {self.path('tokens')}\n")
        self.server = self.prepare("e2e_emit")
        self.server.args += ["-c", config]
        self.server.start()
        self.assertEqual(self.ask("/agents", {"Origin": APP, **bearer("one")}).status, 403)
        with open(config, "a") as file:
            file.write(f"cors_origins = {APP}\n")
        self.write_tokens("nonsense\n")
        self.assertEqual(run_sluice("reload", "--admin", self.server.admin).returncode, 1)
        self.assertEqual(self.ask("/agents", {"Origin": APP, **bearer("one")}).status, 403)
        self.write_tokens(line_of("alice", "two"))
        self.assertEqual(run_sluice("reload", "--admin", self.server.admin).returncode, 0)
        self.assertEqual(self.ask("/agents", {"Origin": APP, **bearer("two")}).status, 200)

    def test_others_can_open_the_file(self):
        os.chmod(self.path("tokens"), 0o644)
        self.hang_up(lambda: self.server.lines(" warn ", "other users", "tokens"), "a warning")
        self.assertEqual(self.status("one"), 200)


class OriginTest(AccessTest):
    def serve_origins(self, origins, **settings):
        self.server = self.serve("e2e_emit", settings={"host.cors_origins": origins, **settings})

    def check_allowed(self, answer, origin, status=200):
        self.assertEqual(answer.status, status)
        self.assertEqual(answer.headers["access-control-allow-origin"], origin)
        self.assertEqual(answer.headers["access-control-expose-headers"], "Location, Retry-After, WWW-Authenticate, "
                         "x-request-id, x-should-retry, x-vercel-ai-ui-message-stream, Mcp-Session-Id, "
                         "MCP-Protocol-Version")
        self.assertEqual(answer.headers["vary"], "Origin")
        self.assertNotIn("access-control-allow-credentials", answer.headers)

    def check_refused(self, answer, origin):
        self.check_problem(answer, 403, "Forbidden",
                           f"web pages of the origin {origin} may not use this server; its operator "
                           "allows them by adding it to cors_origins")
        self.check_plain(answer)

    def check_plain(self, answer):
        self.assertEqual([name for name in answer.headers if name.startswith("access-control-")], [])

    def preflight(self, origin, path="/agents/e2e_emit/runs"):
        return self.ask(path, {"Origin": origin, "Access-Control-Request-Method": "POST",
                               "Access-Control-Request-Headers": "authorization,content-type"},
                        "OPTIONS")

    def test_allowed(self):
        self.serve_origins(f"{APP}, {LOCAL}")
        for origin in (APP, LOCAL):
            self.check_allowed(self.ask("/agents", {"Origin": origin}), origin)
            self.check_allowed(self.ask("/healthz", {"Origin": origin}), origin)

    def test_run(self):
        self.serve_origins(APP)
        for query in ("", "?mode=wait"):
            answer = self.server.post("e2e_emit", FINE, query, {"Origin": APP})
            self.check_allowed(answer, APP)
            self.assertIn("location", answer.headers)

    def test_errors_can_be_read(self):
        self.serve_origins(APP)
        self.check_allowed(self.ask("/nothing", {"Origin": APP}), APP, 404)
        self.check_allowed(self.ask("/agents", {"Origin": APP}, "POST"), APP, 405)
        self.check_allowed(self.server.post("e2e_emit", b"{", "", {"Origin": APP}), APP, 400)

    def test_refused(self):
        self.serve_origins(f"{APP}, {LOCAL}")
        for origin in ("https://evil.example", "http://app.example", APP + ":444", APP + ".evil",
                       "https://x.app.example", "https://app.exampl", LOCAL[:-1], "http://localhost:1",
                       "https:", f"{APP}, {LOCAL}"):
            with self.subTest(origin=origin):
                self.check_refused(self.ask("/agents", {"Origin": origin}), origin)
                self.check_refused(self.preflight(origin), origin)
                self.check_refused(self.server.post("e2e_emit", FINE, "", {"Origin": origin}), origin)

    def test_none_is_allowed_unless_configured(self):
        self.server = self.serve("e2e_emit")
        self.check_refused(self.ask("/agents", {"Origin": APP}), APP)
        self.check_refused(self.preflight(APP), APP)

    def test_without_an_origin(self):
        self.serve_origins(APP)
        answer = self.ask("/agents")
        self.assertEqual(answer.status, 200)
        self.check_plain(answer)

    def test_same_origin(self):
        self.server = self.serve("e2e_emit")
        for headers in ({"Origin": "http://localhost"}, {"Origin": "https://LOCALHOST"},
                        {"Origin": APP, "Sec-Fetch-Site": "same-origin"}):
            with self.subTest(headers=headers):
                answer = self.ask("/agents", headers)
                self.assertEqual(answer.status, 200)
                self.check_plain(answer)

    def test_names_of_other_hosts(self):
        """A page may have let its name lead here: its origin would be this host's."""
        self.server = self.serve("e2e_emit")
        for host, status in (("127.0.0.1:1", 200), ("LOCALHOST:1", 200), ("127.8.8.8", 200),
                             ("[::1]:80", 200), ("agents.example", 421), ("127.0.0.1.example", 421),
                             ("128.0.0.1", 421), ("localhost.", 421), ("[::2]", 421), ("", 421)):
            for headers in ({}, {"Origin": f"http://{host}"}, {"Sec-Fetch-Site": "same-origin"}):
                with self.subTest(host=host, headers=headers), self.server.connect() as connection:
                    connection.send(request_bytes("GET", "/agents", None, headers)
                                    .replace(b"Host: localhost", b"Host: " + host.encode()))
                    self.assertEqual(connection.response("GET").status, status)

    def check_hosts(self, statuses, settings, **serving):
        self.server = self.serve("e2e_emit", settings=settings, **serving)
        for host, status in statuses.items():
            for headers in ({}, {"Origin": f"http://{host}"}, {"Sec-Fetch-Site": "same-origin"}):
                with self.subTest(host=host, headers=headers), self.server.connect() as connection:
                    connection.send(request_bytes("GET", "/agents", None, headers)
                                    .replace(b"Host: localhost", b"Host: " + host.encode()))
                    answer = connection.response("GET")
                    self.assertEqual(answer.status, status)
                    if status == 421:
                        self.assertIn("allowed_hosts", answer.json()["detail"])

    def test_names_of_an_anonymous_server(self):
        """That everyone may use it does not mean that every page may."""
        self.check_hosts({"localhost": 200, "127.0.0.1:1": 200, "evil.example": 421,
                          "localhost.evil.example": 421, "127.0.0.1.evil.example": 421},
                         {"host.allow_anonymous": "yes"})

    def test_addresses_of_a_server_for_others(self):
        """An address cannot be made to lead elsewhere."""
        self.check_hosts({"localhost": 200, "10.1.2.3:8080": 200, "[fe80::1]:8080": 200,
                          "evil.example": 421, "127.1": 421, "0x7f000001": 421, "[evil]": 400,
                          "host.docker.internal": 421},
                         {"host.allow_anonymous": "yes", "host.listen": "0.0.0.0:0"})

    def test_allowed_hosts(self):
        for settings in ({}, {"host.allow_anonymous": "yes"}):
            self.check_hosts({"agents.example": 200, "AGENTS.example:8080": 200, "localhost": 200,
                              "host.docker.internal:1": 200, "my_agent": 200, "agents.example.": 421,
                              "x.agents.example": 421, "agents.exampl": 421, "docker": 421},
                             {"host.allowed_hosts": "agents.example, host.docker.internal,my_agent",
                              **settings})

    def test_any_host(self):
        self.check_hosts({"evil.example": 200, "": 200}, {"host.allowed_hosts": "*"})

    def test_allowed_hosts_with_tokens(self):
        self.write_tokens(line_of("alice", "one"))
        tokens = {"host.tokens": self.path("tokens")}
        self.check_hosts({"any.example": 401, "agents.example": 401}, tokens)
        self.check_hosts({"any.example": 421, "agents.example": 401},
                         {**tokens, "host.allowed_hosts": "agents.example"})

    def test_host_of_an_absolute_target(self):
        """The target's host counts, not the header's."""
        self.server = self.serve("e2e_emit")
        for target, host, status in (("http://localhost", "evil.example", 200),
                                     ("http://evil.example", "localhost", 421)):
            with self.subTest(target=target), self.server.connect() as connection:
                connection.send(f"GET {target}/agents HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                self.assertEqual(connection.response("GET").status, status)

    def test_same_origin_with_a_port(self):
        self.server = self.serve("e2e_emit", settings={"host.allowed_hosts": "agents.example"})
        for origin, status in (("http://agents.example:8080", 200), ("http://agents.example", 403),
                               ("http://agents.example:80", 403), ("agents.example:8080", 403)):
            with self.subTest(origin=origin), self.server.connect() as connection:
                connection.send(request_bytes("GET", "/agents", None, {"Origin": origin})
                                .replace(b"Host: localhost", b"Host: agents.example:8080"))
                self.assertEqual(connection.response("GET").status, status)

    def test_other_sites(self):
        self.server = self.serve("e2e_emit")
        for site in ("cross-site", "same-site", "none", ""):
            answer = self.ask("/agents", {"Origin": APP, "Sec-Fetch-Site": site})
            self.check_refused(answer, APP)

    def test_null(self):
        self.serve_origins(APP)
        for answer in (self.ask("/agents", {"Origin": "null"}), self.preflight("null")):
            self.check_problem(answer, 403, "Forbidden",
                               "web pages without an origin may not use this server; its operator "
                               "allows them by setting cors_origins to *")

    def test_any(self):
        self.serve_origins("*")
        for origin in (APP, LOCAL, "null"):
            self.check_allowed(self.ask("/agents", {"Origin": origin}), "*")
            self.check_allowed(self.preflight(origin), "*", 204)

    def test_preflight(self):
        self.serve_origins(APP)
        for path in ("/agents/e2e_emit/runs", "/agents", "/nothing"):
            answer = self.preflight(APP, path)
            self.check_allowed(answer, APP, 204)
            self.assertEqual(answer.headers["access-control-allow-methods"], "POST")
            self.assertEqual(answer.headers["access-control-allow-headers"],
                             "authorization,content-type")
            self.assertNotIn("access-control-allow-private-network", answer.headers)
            self.assertEqual(answer.headers["access-control-max-age"], "600")
            self.assertEqual(answer.body, b"")
            for name in ("content-length", "content-type", "transfer-encoding"):
                self.assertNotIn(name, answer.headers)

    def test_preflight_of_anything(self):
        self.serve_origins(APP)
        answer = self.ask("/agents", {"Origin": APP, "Access-Control-Request-Method": "DELETE",
                                      "Access-Control-Request-Headers": "cache-control,x-own",
                                      "Access-Control-Request-Private-Network": "true"}, "OPTIONS")
        self.check_allowed(answer, APP, 204)
        self.assertEqual(answer.headers["access-control-allow-methods"], "DELETE")
        self.assertEqual(answer.headers["access-control-allow-headers"], "cache-control,x-own")
        self.assertEqual(answer.headers["access-control-allow-private-network"], "true")
        answer = self.ask("/agents", {"Origin": APP, "Access-Control-Request-Method": "GET"},
                          "OPTIONS")
        self.check_allowed(answer, APP, 204)
        self.assertNotIn("access-control-allow-headers", answer.headers)

    def test_origins_of_shells_and_extensions(self):
        origins = ("tauri://localhost", "capacitor://localhost", "app://obsidian.md",
                   "chrome-extension://abcdefghijklmnopabcdefghijklmnop")
        self.serve_origins(", ".join(origins))
        for origin in origins:
            self.check_allowed(self.ask("/agents", {"Origin": origin}), origin)
            self.check_allowed(self.preflight(origin), origin, 204)
        for origin in ("tauri://localhost.evil", "tauri://localhos", "chrome-extension://a", "http://x"):
            self.check_refused(self.ask("/agents", {"Origin": origin}), origin)

    def test_scheme_of_the_same_origin(self):
        """A shell's page is not this server's, though its host has the same name."""
        self.server = self.serve("e2e_emit")
        self.check_refused(self.ask("/agents", {"Origin": "tauri://localhost"}), "tauri://localhost")

    def test_connection_lives_on_after_a_preflight(self):
        self.serve_origins(APP)
        with self.server.connect() as connection:
            for _ in range(3):
                connection.send(request_bytes("OPTIONS", "/agents", None, {
                    "Origin": APP, "Access-Control-Request-Method": "GET"}))
                self.assertEqual(connection.response("OPTIONS").status, 204)
                self.assertEqual(connection.exchange("GET", "/agents").status, 200)

    def test_options_without_a_request_method_is_no_preflight(self):
        self.serve_origins(APP)
        self.check_allowed(self.ask("/agents", {"Origin": APP}, "OPTIONS"), APP, 405)

    def test_preflight_of_the_same_origin(self):
        self.server = self.serve("e2e_emit")
        answer = self.preflight("http://localhost")
        self.assertEqual(answer.status, 405)
        self.check_plain(answer)

    def test_tokens_and_origins(self):
        self.serve_tokens(line_of("alice", "one"), **{"host.cors_origins": APP})
        self.check_allowed(self.preflight(APP), APP, 204)
        answer = self.ask("/agents", {"Origin": APP})
        self.check_allowed(answer, APP, 401)
        self.assertEqual(answer.headers["www-authenticate"], CHALLENGE)
        self.check_allowed(self.ask("/agents", {"Origin": APP, **bearer("one")}), APP)
        self.check_refused(self.ask("/agents", {"Origin": LOCAL, **bearer("one")}), LOCAL)
        self.assertEqual(self.ask("/agents", {"Origin": "http://localhost"}).status, 401)

    def test_reload(self):
        config = self.path("sluice.ini")
        self.server = self.prepare("e2e_emit")
        self.server.args += ["-c", config]
        for origins, answers in (("", (403, 403)), (APP, (200, 403)), ("*", (200, 200)),
                                 (LOCAL, (403, 200))):
            with open(config, "w") as file:
                file.write(f"[host]\ncors_origins = {origins}\n")
            if self.server.process:
                self.assertEqual(run_sluice("reload", "--admin", self.server.admin).returncode, 0)
            else:
                self.server.start()
            self.assertEqual(tuple(self.ask("/agents", {"Origin": origin}).status
                                   for origin in (APP, LOCAL)), answers)


class AddressTest(AccessTest):
    REFUSAL = ("sluice: others can reach {}: set host.tokens to a file of tokens, which `sluice "
               "token` makes, or host.allow_anonymous to yes if everyone may start runs\n")

    def check_only(self, *args):
        return run_sluice("serve", "-n", "--plugins", self.folder, *args)

    def test_others_need_tokens(self):
        for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"):
            for args in (["-n"], []):
                with self.subTest(address=address, args=args):
                    ended = run_sluice("serve", *args, "--listen", address)
                    self.assertEqual(ended.returncode, 1)
                    self.assertEqual(ended.stderr.decode(), self.REFUSAL.format(address))

    def test_loopback_needs_none(self):
        for address in ("127.0.0.1:0", "127.9.9.9:0", "[::1]:0", "[::ffff:127.0.0.1]:0"):
            with self.subTest(address=address):
                self.assertEqual(self.check_only("--listen", address).returncode, 0)

    def test_others_with_tokens(self):
        self.write_tokens(line_of("alice", "one"))
        os.chmod(self.path("tokens"), 0o600)
        ended = self.check_only("--listen", "0.0.0.0:0", "--set",
                                f"host.tokens={self.path('tokens')}")
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr),
                         (0, b"the configuration is fine\n",
                          f"sluice: warning: no plugin (*.so) in the plugin folder {self.folder}\n"
                          .encode()))

    def test_others_allowed(self):
        ended = self.check_only("--listen", "0.0.0.0:0", "--set", "host.allow_anonymous=yes")
        self.assertEqual(ended.returncode, 0)

    def test_bad_tokens(self):
        self.write_tokens("# who\nalice\n")
        for args in (["-n"], ["--listen", "127.0.0.1:0"]):
            ended = run_sluice("serve", *args, "--set", f"host.tokens={self.path('tokens')}")
            self.assertEqual(ended.returncode, 1)
            self.assertIn(f"sluice: {self.path('tokens')}:2: no ':' in this line; write "
                          "SUBJECT:SHA256, as `sluice token` does\n", ended.stderr.decode())

    def test_half_of_tls(self):
        for key, other in (("tls_key", "tls_certificate"), ("tls_certificate", "tls_key")):
            for args in (["-n"], ["--listen", "127.0.0.1:0"]):
                ended = run_sluice("serve", *args, "--set", f"host.{key}=file.pem")
                self.assertEqual((ended.returncode, ended.stderr.decode()),
                                 (1, f"sluice: {key} is set without {other}; set both, or none\n"))

    def write_config(self, text):
        with open(self.path("sluice.ini"), "w") as file:
            file.write(f"[host]\n{text}")

    def test_what_is_bound_counts_at_a_reload(self):
        """Another listen in the file does not close what is open to everyone."""
        self.write_config("listen = 0.0.0.0:0\nallow_anonymous = yes\n")
        server = self.server = self.prepare("e2e_emit")
        at = server.args.index("--listen")
        server.args[at:at + 2] = ["-c", self.path("sluice.ini")]
        listening = r"^sluice: listening on http://0\.0\.0\.0:(\d+)$"
        server.find_address = lambda: re.search(listening, server.log(), re.M)
        server.start()
        address = ("127.0.0.1", int(server.find_address()[1]))
        for text in ("listen = 127.0.0.1:0\n", "listen = 0.0.0.0:0\n"):
            self.write_config(text)
            ended = run_sluice("reload", "--admin", server.admin)
            self.assertEqual(ended.returncode, 1)
            self.assertIn("sluice: others can reach 0.0.0.0:", ended.stderr.decode())
        self.write_tokens(line_of("alice", "one"))
        self.write_config(f"listen = 127.0.0.1:0\ntokens = {self.path('tokens')}\n")
        ended = run_sluice("reload", "--admin", server.admin)
        self.assertEqual((ended.returncode, ended.stdout.decode().splitlines()),
                         (3, ["applied:         host.tokens", "applied:         host.allow_anonymous",
                              "needs a restart: host.listen"]))
        with Connection(address) as connection:
            self.assertEqual(connection.exchange("GET", "/agents").status, 401)


if __name__ == "__main__":
    main()
