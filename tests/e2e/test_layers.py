#!/usr/bin/python3
"""The layer rule, and that what the documentation names is there."""

import glob
import os
import re
import unittest

from harness import SRCDIR, main, run_sluice

INCLUDE = re.compile(r'(?m)^[ \t]*#[ \t]*include[ \t]*([<"])([^">]+)[>"]')
OURS = ("docs/", "host/", "plugins/", "sdk/", "tests/")


def sources(*folders):
    found = []
    for folder in folders:
        found += glob.glob(os.path.join(SRCDIR, folder, "**", "*.[ch]"), recursive=True)
    return sorted(os.path.relpath(path, SRCDIR) for path in found)


def includes(path):
    """The quote and the name of each #include."""
    with open(os.path.join(SRCDIR, path), encoding="utf-8") as file:
        return INCLUDE.findall(file.read())


def is_ours(name):
    """Whether the compiler finds a header of the source tree by this name in <>."""
    return any(os.path.exists(os.path.join(SRCDIR, folder, name)) for folder in ("host", "sdk"))


class LayerTest(unittest.TestCase):
    def check_folder(self, folder, allowed):
        """What its files include of ours is allowed(path, name)."""
        files = sources(folder)
        self.assertTrue(files, folder)
        for path in files:
            for quote, name in includes(path):
                with self.subTest(file=path, include=name):
                    if name.startswith("sluice/"):
                        self.assertTrue(allowed(path, name.removeprefix("sluice/")))
                    elif quote == '"' or is_ours(name):
                        self.assertTrue(allowed(path, name))

    def test_common_includes_only_itself(self):
        self.check_folder("host/common", lambda path, name: name.startswith("common/"))

    def test_front_includes_only_itself_and_common(self):
        self.check_folder("host/front", lambda path, name: name.startswith(("front/", "common/")))

    def test_worker_includes_only_itself_common_and_the_sdk(self):
        self.check_folder("host/worker", lambda path, name: name == "agent.h" or
                          name.startswith(("worker/", "common/")))

    def test_testing_includes_of_the_worker_only_what_judges(self):
        judges = ("worker/ctx.h", "worker/payload.h", "worker/request.h")
        self.check_folder("host/testing", lambda path, name: name in ("agent.h", "agent_test.h") or
                          name in judges or name.startswith(("testing/", "common/")))

    def test_agent_h_is_included_only_by_the_worker_and_in_its_place(self):
        users = [path for path in sources("host")
                 if any(name in ("agent.h", "sluice/agent.h") for _, name in includes(path))]
        self.assertTrue(users)
        self.assertEqual([path for path in users
                          if not path.startswith(("host/worker/", "host/testing/"))], [])

    def test_plugins_include_only_the_sdk_and_their_own(self):
        def allowed(path, name):
            return (os.path.exists(os.path.join(SRCDIR, "sdk", name)) or
                    os.path.exists(os.path.join(SRCDIR, "plugins", name)))

        self.check_folder("plugins", allowed)

    def test_tests_of_agents_include_only_what_is_installed(self):
        self.check_folder("tests/agents", lambda path, name:
                          os.path.exists(os.path.join(SRCDIR, "sdk", name)))

    def test_sdk_includes_nothing_of_ours(self):
        self.check_folder("sdk", lambda path, name:
                          os.path.exists(os.path.join(SRCDIR, "sdk", name)))

    def check_users(self, header, *users):
        self.assertEqual([path for path in sources("host", "plugins", "sdk")
                          if any(name == header for _, name in includes(path))], sorted(users))

    def test_libmicrohttpd_is_used_in_two_files(self):
        self.check_users("microhttpd.h", "host/front/http.c", "host/front/parked.c")

    def test_gnutls_is_used_where_tls_and_digests_are(self):
        users = {path for path in sources("host", "plugins", "sdk")
                 if any(name.startswith("gnutls/") for _, name in includes(path))}
        self.assertEqual(users, {"host/front/digest.c", "host/front/parked.c", "host/front/tls.c"})

    def test_libltdl_is_used_in_one_file(self):
        self.check_users("ltdl.h", "host/worker/plugin.c")

    def test_libcurl_is_used_in_one_file(self):
        self.check_users("curl/curl.h", "host/worker/httpclient.c")

    def test_what_does_no_io_includes_no_io(self):
        for path in ("host/front/encode_sse.c", "host/front/eventlog.c", "host/common/wire.c",
                     "host/common/json.c", "host/worker/payload.c", "host/worker/request.c"):
            with self.subTest(file=path):
                self.assertFalse({"unistd.h", "fcntl.h", "sys/socket.h", "uv.h"} &
                                 {name for _, name in includes(path)})


class DocumentationTest(unittest.TestCase):
    def documents(self):
        found = [os.path.join(SRCDIR, "README.md"), *glob.glob(os.path.join(SRCDIR, "docs", "*.md"))]
        self.assertGreater(len(found), 1)
        for path in found:
            with open(path, encoding="utf-8") as file:
                yield os.path.relpath(path, SRCDIR), file.read()

    def test_links_lead_somewhere(self):
        for document, text in self.documents():
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                target = target.partition("#")[0]
                if not target or re.match("[a-z]+:", target):
                    continue
                with self.subTest(document=document, link=target):
                    self.assertTrue(os.path.exists(os.path.join(
                        SRCDIR, os.path.dirname(document), target)))

    def test_named_files_exist(self):
        for document, text in self.documents():
            for name in re.findall(r"`((?:%s)[\w./-]*)`" % "|".join(OURS), text):
                with self.subTest(document=document, name=name):
                    self.assertTrue(os.path.exists(os.path.join(SRCDIR, name)))

    def test_every_setting_is_documented(self):
        with open(os.path.join(SRCDIR, "docs", "configuration.md"), encoding="utf-8") as file:
            text = file.read()
        defaults = run_sluice("serve", "--defaults").stdout.decode()
        keys = re.findall(r"(?m)^(\w+) = ", defaults)
        self.assertIn("max_body", keys)
        for key in keys:
            with self.subTest(key=key):
                self.assertIn(f"| `{key}` |", text)


if __name__ == "__main__":
    main()
