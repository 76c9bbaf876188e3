#!/usr/bin/python3
"""
The ways in which deploy tools change a plugin folder, under live streams: each is
noticed, told in the log, and hurts no stream.
"""

import hashlib
import os
import shutil
import subprocess

from harness import main, plugin_path, wait_for
from swapping import Live, SwapTest, read, write

STREAMS = 5

# In a user namespace of its own, in which no inotify instance is left.
WITHOUT_INOTIFY = ["unshare", "--user", "--map-root-user", "sh", "-c",
                   'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"', "sh"]


def can_be_without_inotify():
    try:
        return subprocess.run([*WITHOUT_INOTIFY, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class TricksTest(SwapTest):
    changes = "watched"

    def prefix(self):
        return []

    def remove(self, folder):
        """Though the host keeps its state in it, and may be writing."""
        def is_gone():
            shutil.rmtree(folder, ignore_errors=True)
            return not os.path.exists(folder)

        wait_for(is_gone, "the folder is removed")

    def begin(self, **files):
        """A host whose plugin folder make_folder() made, with streams of version one."""
        server = self.prepare_swap()
        os.rmdir(server.plugin_folder)
        self.releases = os.path.join(server.folder, "releases")
        os.mkdir(self.releases)
        self.make_folder(server)
        server.args = self.prefix() + server.args
        server.start()
        self.check_serves(server, "one", 1)
        self.assertEqual(self.ask(server, {"command": "list"})["folder"],
                         {"path": self.folder_of(server), "changes": self.changes})
        self.live = Live(self, server, STREAMS)
        return server

    def folder_of(self, server):
        return server.plugin_folder

    def make_folder(self, server):
        self.release("1", "swap_one", server.plugin_folder)

    def release(self, name, plugin, path=None):
        """A folder with the plugin as swap.so, complete when it gets its name."""
        path = path or os.path.join(self.releases, name)
        os.mkdir(path + ".new")
        shutil.copy(plugin_path(plugin), os.path.join(path + ".new", "swap.so"))
        os.rename(path + ".new", path)
        return path

    def link(self, target, path):
        """Moves a link as ln -sfn and kubelet do."""
        os.symlink(target, path + "_tmp")
        os.rename(path + "_tmp", path)

    def swapped(self, server, version, generation):
        """The version serves, streams go on, and the log has one line for the change."""
        self.wait_serves(server, version, generation)
        self.live.read_on()
        self.assertEqual(len(server.lines("plugin file changed plugin=swap")), generation - 1)

    def finish(self):
        self.live.finish()
        self.live.check_made_by("one", 1)


class PlainFolderTest(TricksTest):
    def test_renamed_into_place(self):
        server = self.begin()
        self.rename(server, "swap_two")
        self.swapped(server, "two", 2)
        self.finish()

    def test_replaced(self):
        """Renamed away, and another one renamed in; then only the new one counts."""
        server = self.begin()
        for n in (2, 3):
            old = os.path.join(self.releases, f"old{n}")
            new = self.release(f"new{n}", ("swap_one", "swap_two")[n % 2 == 0])
            os.rename(server.plugin_folder, old)
            os.rename(new, server.plugin_folder)
            self.swapped(server, ("one", "two")[n % 2 == 0], n)
            self.assertEqual(len(server.lines("plugin folder", f"plugins={server.plugin_folder}",
                                              "real=")), n - 1)
            shutil.copy(plugin_path("swap_two"), os.path.join(old, "swap.so"))
        self.rename(server, "swap_two")
        self.swapped(server, "two", 4)
        self.finish()

    def test_deleted_and_made_again(self):
        """Its plugins serve on while it is missing, and while its files are still to come."""
        server = self.begin()
        shutil.copy(plugin_path("swap_state_one"), self.file(server, "state"))
        wait_for(lambda: server.lines("now serving plugin=swap_state"), "the other one serves")
        for n in (2, 3):
            self.remove(server.plugin_folder)
            wait_for(lambda: len(server.lines("plugin folder missing")) == n - 1, "it is missed")
            self.assertIn("No such file", self.ask(server, {"command": "list"})["folder"]["trouble"])
            self.assertIn("cannot read the plugin folder", self.check_command_fails(server, "reload"))
            self.check_serves(server, ("one", "two")[n % 2], n - 1)
            os.mkdir(server.plugin_folder)
            wait_for(lambda: len(server.lines("plugin file missing in the new plugin folder",
                                              "/swap.so")) == n - 1, "its files are missed")
            self.check_serves(server, ("one", "two")[n % 2], n - 1)
            shutil.copy(plugin_path(("swap_two", "swap_one")[n % 2]), self.file(server))
            self.swapped(server, ("two", "one")[n % 2], n)
            self.assertNotIn("trouble", self.ask(server, {"command": "list"})["folder"])
            self.assertEqual(self.current(server, "swap_state"), ("one", 1))
        self.rename(server, "swap_two")
        self.swapped(server, "two", 4)
        self.assertEqual(server.lines("plugin file removed"), [])
        self.finish()

    def test_written_in_place(self):
        """Half of it lies there, for as long as the writer holds the file open."""
        server = self.begin()
        whole = read(plugin_path("swap_two"))
        with open(self.file(server), "r+b", buffering=0) as file:
            file.truncate(len(whole))
            file.write(whole[:len(whole) // 2])
            self.wait_settled(server, lambda: None)
            self.check_serves(server, "one", 1)
            file.write(whole[len(whole) // 2:])
        self.swapped(server, "two", 2)
        self.assertIsNone(self.last_error(server))
        self.finish()

    def test_stopped_writer(self):
        """Nobody waits for ever for a writer that forgets to close the file."""
        server = self.begin()
        whole = read(plugin_path("swap_two"))
        with open(self.file(server), "r+b", buffering=0) as file:
            file.truncate(len(whole))
            file.write(whole)
            self.swapped(server, "two", 2)
        self.finish()

    def test_checksum(self):
        """A file that is not what its checksum says is refused by name, until either changes."""
        server = self.begin()
        wrong, right = (hashlib.sha256(read(plugin_path(plugin))).hexdigest()
                        for plugin in ("swap_one", "swap_two"))
        write(self.file(server) + ".sha256", b"none")
        self.rename(server, "swap_two")
        wait_for(lambda: "64 hex digits" in str(self.last_error(server)), "the sum is refused")
        write(self.file(server) + ".sha256", f"{wrong}  swap.so\n".encode())
        wait_for(lambda: self.last_error(server) ==
                 f"refused at checksum: {self.file(server)} is not what {self.file(server)}.sha256 "
                 f"says: it has {right}, wanted is {wrong}", "the file is refused")
        self.assertIn("refused at checksum", self.check_command_fails(server, "reload", "swap"))
        self.check_serves(server, "one", 1)
        write(self.file(server) + ".sha256", f"{right.upper()} *swap.so\n".encode())
        self.wait_serves(server, "two", 2)
        write(self.file(server) + ".sha256", b"")
        self.check_serves(server, "two", 2)
        self.finish()

    def test_names_are_not_kept_for_ever(self):
        """Nothing stays in the front of a file that was there once and never served."""
        server = self.begin()
        names = [f"bad{n}" for n in range(30)]
        for name in names:
            write(self.file(server, name), b"none")
        wait_for(lambda: len(server.lines("plugin refused: refused at copy")) == len(names), "all are refused")
        for name in names:
            os.remove(self.file(server, name))
        wait_for(lambda: len(server.lines("plugin without a file forgotten plugin=bad")) == len(names),
                 "all are forgotten")
        self.assertIn("there is no plugin 'bad0'", self.check_command_fails(server, "rollback", "bad0"))
        self.finish()

    def test_link_that_leads_elsewhere(self):
        """What changes there tells nobody here."""
        server = self.begin()
        target = self.release("elsewhere", "swap_two")
        self.link(os.path.join(target, "swap.so"), self.file(server))
        self.swapped(server, "two", 2)
        shutil.copy(plugin_path("swap_one"), os.path.join(target, "new"))
        os.rename(os.path.join(target, "new"), os.path.join(target, "swap.so"))
        self.swapped(server, "one", 3)
        self.finish()


class ConfigMapTest(TricksTest):
    """As kubelet writes volumes: each file is a link through ..data, which alone is moved."""

    def make_folder(self, server):
        self.map = server.plugin_folder
        os.mkdir(self.map)
        self.publish("1", "swap_one")
        os.symlink("..data/swap.so", self.file(server))

    def publish(self, name, plugin):
        stamp = "..ts" + name
        os.mkdir(os.path.join(self.map, stamp))
        shutil.copy(plugin_path(plugin), os.path.join(self.map, stamp, "swap.so"))
        self.link(stamp, os.path.join(self.map, "..data"))

    def test_swap(self):
        server = self.begin()
        for n in (2, 3, 4):
            self.publish(str(n), ("swap_one", "swap_two")[n % 2 == 0])
            self.swapped(server, ("one", "two")[n % 2 == 0], n)
            shutil.rmtree(os.path.join(self.map, f"..ts{n - 1}"))
        self.finish()


class ReleaseTest(TricksTest):
    """The folder is a link to a release."""

    def make_folder(self, server):
        self.link(self.release("1", "swap_one"), server.plugin_folder)

    def test_moved(self):
        server = self.begin()
        for n in (2, 3):
            self.link(self.release(str(n), ("swap_one", "swap_two")[n % 2 == 0]),
                      server.plugin_folder)
            self.swapped(server, ("one", "two")[n % 2 == 0], n)
            self.assertEqual(len(server.lines("plugin folder replaced", f"real={self.releases}/{n}")), 1)
        self.rename(server, "swap_two")
        self.swapped(server, "two", 4)
        self.finish()


class LinkedPlaceTest(TricksTest):
    """A folder on the way to it is a link to a release: no event tells that it moves."""

    def folder_of(self, server):
        return os.path.join(server.plugin_folder, ".")

    def make_folder(self, server):
        self.link(self.release("1", "swap_one"), server.plugin_folder)
        server.args[server.args.index("--plugins") + 1] = self.folder_of(server)

    def test_moved(self):
        server = self.begin()
        self.link(self.release("2", "swap_two"), server.plugin_folder)
        self.swapped(server, "two", 2)
        self.finish()


class PolledTest(TricksTest):
    """Without inotify looks by the clock are enough."""

    changes = "polled"

    def prefix(self):
        if not can_be_without_inotify():
            self.skipTest("no user namespace without inotify instances can be made here")
        return WITHOUT_INOTIFY

    def test_renamed_and_replaced(self):
        server = self.begin()
        self.assertEqual(len(server.lines("cannot watch the plugin folder: Too many open files",
                                          f"plugins={server.plugin_folder}")), 1)
        self.rename(server, "swap_two")
        self.swapped(server, "two", 2)
        os.rename(server.plugin_folder, os.path.join(self.releases, "old"))
        os.rename(self.release("new", "swap_one"), server.plugin_folder)
        self.swapped(server, "one", 3)
        self.finish()


if __name__ == "__main__":
    main()
