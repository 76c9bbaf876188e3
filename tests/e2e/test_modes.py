#!/usr/bin/python3
"""Files of code and secrets that other users may change or read: a warning, or a refusal."""

import hashlib
import os
import shutil
import unittest

from harness import Identity, Test, main, plugin_path, run_sluice, wait_for


class ModesTest(Test):
    def start(self, mode, owner=None, settings=None):
        """A server with one plugin whose file has this mode."""
        server = self.prepare(settings=settings)
        path = os.path.join(server.plugin_folder, "ticker.so")
        shutil.copyfile(plugin_path("ticker"), path)
        os.chmod(path, mode)
        if owner is not None:
            os.chown(path, owner, owner)
        server.start()
        return server

    def test_plugin_that_others_may_write(self):
        server = self.start(0o666)
        server.run("ticker", {"count": 1})
        self.assertEqual(len(server.lines(" warn ", "is open to other users (mode 0666)",
                                          "ticker.so")), 1)

    def test_plugin_that_only_its_owner_may_write(self):
        server = self.start(0o644)
        server.run("ticker", {"count": 1})
        self.assertEqual(server.lines("other user", "ticker.so"), [])

    def test_strict(self):
        server = self.start(0o666, settings={"host.strict_modes": "yes"})
        self.assertEqual(server.post("ticker", {"count": 1}).status, 503)
        self.assertEqual(len(server.lines("refused at copy", "ticker.so",
                                          "is open to other users (mode 0666); chmod o-w it")), 1)
        os.chmod(os.path.join(server.plugin_folder, "ticker.so"), 0o644)
        run_sluice("reload", "ticker", "--admin", server.admin)
        server.run("ticker", {"count": 1})

    def test_strict_keeps_what_serves(self):
        server = self.start(0o644, settings={"host.strict_modes": "yes"})
        new = os.path.join(server.plugin_folder, "new")
        shutil.copyfile(plugin_path("ticker"), new)
        os.chmod(new, 0o646)
        os.rename(new, os.path.join(server.plugin_folder, "ticker.so"))
        wait_for(lambda: server.lines("refused at copy", "mode 0646"), "the new file is refused")
        server.run("ticker", {"count": 1})

    @unittest.skipUnless(os.geteuid() == 0, "only root can give files away")
    def test_plugin_of_another_user(self):
        server = self.start(0o644, owner=65534, settings={"host.strict_modes": "yes"})
        self.assertEqual(server.post("ticker", {"count": 1}).status, 503)
        self.assertEqual(len(server.lines("refused at copy", "belongs to another user (uid 65534)")),
                         1)

    def test_folder_that_others_may_write(self):
        server = self.prepare("ticker")
        os.chmod(server.plugin_folder, 0o777)
        server.start()
        self.assertEqual(len(server.lines(" warn ", "plugin folder is open to other users")), 1)

    def check_secret(self, name, path, settings):
        server = self.prepare("ticker", settings=settings)
        os.chmod(path, 0o644)
        server.start()
        self.assertEqual(len(server.lines(" warn ", f"{name} is open to other users (mode 0644)")),
                         1)
        server.stop()
        strict = self.prepare("ticker", settings={**settings, "host.strict_modes": "yes"})
        strict.start_process()
        self.assertNotEqual(strict.wait(), 0)
        self.assertIn(f"{name}: {path} is open to other users (mode 0644)", strict.log())
        strict.is_stopped = True
        os.chmod(path, 0o640)
        closed = self.serve("ticker", settings={**settings, "host.strict_modes": "yes"})
        self.assertEqual(closed.lines("is open to other users"), [])

    def test_tokens(self):
        path = self.path("tokens")
        with open(path, "w") as file:
            file.write(f"alice:{hashlib.sha256(b'one').hexdigest()}\n")
        self.check_secret("host.tokens", path, {"host.tokens": path})

    def test_key(self):
        identity = Identity(self.folder, "server")
        self.check_secret("host.tls_key", identity.key,
                          {"host.tls_certificate": identity.certificate,
                           "host.tls_key": identity.key})


if __name__ == "__main__":
    main()
