#!/usr/bin/python3
"""The layer rule, and that what the documentation names is there."""

import glob
import os
import re
import shutil
import tempfile
import unittest

from harness import SRCDIR, main, run_sluice

INCLUDE = re.compile(r'(?m)^[ \t]*#[ \t]*include[ \t]*([<"])([^">]+)[>"]')
OURS = ("docs/", "host/", "plugins/", "sdk/", "tests/")


# A room of host/ and the rooms that it may include besides itself; "sdk" is sdk/agent.h and its like.
# host/main.c, host/front_main.c, host/front.c and host/reload.c compose the others.
ROOMS = {
    "base": "",
    "wire": "base",
    "run": "base wire",
    "protocol": "base run",
    "config": "base",
    "http": "base",
    "fleet": "base wire run config",
    "api": "base wire run protocol http fleet config",
    "ops": "base wire fleet run config",
    "worker/fibers": "base",
    "worker": "base wire worker/fibers sdk",
    "harness": "base wire worker sdk",
    "cli": "base wire run protocol http fleet config api ops worker/fibers worker front reload sdk",
}

# The one room or file that may include a library's header.
LIBRARIES = {
    "microhttpd.h": ("host/http/",),
    "gnutls/": ("host/http/", "host/base/digest.c"),
    "ltdl.h": ("host/worker/plugin.c",),
    "curl/": ("host/worker/curl.h",),
    "hiredis/": (),
    "ini.h": ("host/config/ini.c",),
}

# Rooms and files that do no I/O of their own, and what they therefore do not include.
PURE = ("host/protocol/", "host/run/event.c", "host/run/eventlog.c", "host/run/pack.c", "host/run/record.c", "host/wire/frames.c",
        "host/base/json.c", "host/base/json_fault.c", "host/base/json_member.c", "host/base/json_schema.c", "host/base/json_tree.c",
        "host/worker/emit.c", "host/worker/http_request.c")
IO = {"fcntl.h", "sys/socket.h", "unistd.h", "uv.h"}


def sources(*folders, root=SRCDIR):
    found = []
    for folder in folders:
        found += glob.glob(os.path.join(root, folder, "**", "*.[ch]"), recursive=True)
    return sorted(os.path.relpath(path, root) for path in found)


def includes(path, root=SRCDIR):
    """The quote and the name of each #include."""
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return INCLUDE.findall(file.read())


def is_ours(name):
    """Whether the compiler finds a header of the source tree by this name in <>."""
    return any(os.path.exists(os.path.join(SRCDIR, folder, name)) for folder in ("host", "sdk"))


COMPOSERS = ("front", "front_main", "main", "reload")


def room_of(path):
    """The room of a path below host/; those of COMPOSERS are files of no room."""
    folder = os.path.dirname(path)
    return folder if folder else path.rpartition(".")[0]


def enumerators(path):
    """The names that the file's enums define, but for those that a macro makes."""
    with open(os.path.join(SRCDIR, path), encoding="utf-8") as file:
        text = re.sub(r"(?s)/\*.*?\*/|(?m:^[ \t]*#[^\n]*)", "", file.read())
    for body in re.findall(r"\benum\b\s*\w*\s*\{([^}]*)\}", text):
        yield from re.findall(r"(?:^|,)\s*([A-Z]\w*)(?=\s*[,=]|\s*$)", body)


def upward_arrows(root=SRCDIR):
    """Each include of host/ that no arrow of ROOMS allows, as "file includes name"."""
    found = []
    for path in sources("host", root=root):
        room = room_of(path.removeprefix("host/"))
        if room in COMPOSERS:
            continue
        allowed = ROOMS.get(room, "").split() + [room]
        for quote, name in includes(path, root):
            name = name.removeprefix("sluice/")
            if quote == "<" and not is_ours(name):
                continue
            target = room_of(name) if "/" in name or os.path.exists(
                os.path.join(root, "host", name)) else "sdk"
            if target not in allowed:
                found.append(f"{path} includes {name}")
    return found


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

    def test_arrows_between_rooms_go_down(self):
        self.assertEqual(upward_arrows(), [])

    def test_every_folder_of_host_is_a_room(self):
        folders = {room_of(path.removeprefix("host/")) for path in sources("host")}
        self.assertEqual(folders, {*ROOMS, *COMPOSERS})

    def test_arrows_of_rooms_have_no_circle(self):
        left = {room: set(arrows.split()) - {*COMPOSERS, "sdk"} for room, arrows in ROOMS.items()}
        while left:
            lowest = [room for room, arrows in left.items() if not arrows & set(left)]
            self.assertTrue(lowest, f"a circle among {sorted(left)}")
            for room in lowest:
                del left[room]

    def test_no_enumerator_exists_twice(self):
        owners = {}
        for path in sources("host"):
            for name in enumerators(path):
                owners.setdefault(name, set()).add(path)
        self.assertIn("WIRE_FRONT", owners)
        self.assertEqual({name: paths for name, paths in owners.items() if len(paths) > 1}, {})

    def test_an_arrow_upward_is_found(self):
        for path, name in (("host/run/run.c", "api/routes.h"), ("host/base/buf.h", "wire/link.h"),
                           ("host/worker/job.c", "run/run.h"), ("host/fleet/image.c", "http/http.h"),
                           ("host/worker/fibers/fiber.c", "worker/task.h"),
                           ("host/protocol/native.c", "front.h"), ("host/run/run.h", "agent.h"),
                           ("host/attic/new.c", "base/buf.h")):
            with self.subTest(file=path, include=name), tempfile.TemporaryDirectory() as root:
                shutil.copytree(os.path.join(SRCDIR, "host"), os.path.join(root, "host"))
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "a", encoding="utf-8") as file:
                    file.write(f'#include "{name}"\n')
                self.assertEqual(set(upward_arrows(root)) - set(upward_arrows()),
                                 {f"{path} includes {name}"})

    def test_plugins_include_only_the_sdk_and_their_own(self):
        def allowed(path, name):
            return (os.path.exists(os.path.join(SRCDIR, "sdk", name)) or
                    os.path.exists(os.path.join(SRCDIR, "plugins", name)))

        self.check_folder("plugins", allowed)

    def test_tests_of_agents_include_only_what_is_installed(self):
        self.check_folder("tests/agents", lambda path, name: name == "../case.h" or any(
            os.path.exists(os.path.join(SRCDIR, folder, name)) for folder in ("sdk", "tests/agents")))

    def test_sdk_includes_nothing_of_ours(self):
        self.check_folder("sdk", lambda path, name:
                          os.path.exists(os.path.join(SRCDIR, "sdk", name)) or
                          os.path.exists(os.path.join(SRCDIR, os.path.dirname(path), name)))

    def test_libraries_are_used_in_their_place(self):
        for path in sources("host", "plugins", "sdk"):
            for _, name in includes(path):
                for library, users in LIBRARIES.items():
                    if name == library or library.endswith("/") and name.startswith(library):
                        with self.subTest(file=path, include=name):
                            self.assertTrue(path.startswith(users) if users else False)

    def test_what_does_no_io_includes_no_io(self):
        for path in sources("host"):
            if path.startswith(PURE):
                with self.subTest(file=path):
                    self.assertFalse(IO & {name for _, name in includes(path)})

    def test_the_host_does_not_fork(self):
        """A copy of a large front would take its loop tens of milliseconds."""
        forks = re.compile(r"^[^/*\n]*\b(v?fork|uv_spawn|system|popen)\(", re.M)
        for path in sources("host"):
            with self.subTest(file=path), open(os.path.join(SRCDIR, path), encoding="utf-8") as file:
                self.assertEqual(forks.findall(file.read()), [])


class DocumentationTest(unittest.TestCase):
    def documents(self):
        found = [*(os.path.join(SRCDIR, name) for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")),
                 *glob.glob(os.path.join(SRCDIR, "docs", "*.md"))]
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
                if "NAME" in name:
                    continue
                with self.subTest(document=document, name=name):
                    self.assertTrue(os.path.exists(os.path.join(SRCDIR, name)))

    def test_links_within_documents_lead_somewhere(self):
        """As hosting sites name headings: small letters, blanks as '-', without punctuation."""
        anchors = {document: {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
                              for title in re.findall(r"(?m)^#+ (.*)$", text)}
                   for document, text in self.documents()}
        for document, text in self.documents():
            for target, anchor in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", text):
                path = os.path.normpath(os.path.join(os.path.dirname(document), target)) if target else document
                with self.subTest(document=document, link=f"{target}#{anchor}"):
                    self.assertIn(anchor, anchors[path])

    def test_named_settings_exist(self):
        sections = run_sluice("serve", "--defaults").stdout.decode().split("[plugin", 1)
        host, plugin = (set(re.findall(r"(?m)^(\w+) = ", section)) for section in sections)
        named = set()
        for document, text in self.documents():
            for section, key in re.findall(r"`(host|plugin\.NAME)\.([a-z_]+)[`= ]", text):
                named.add(key)
                with self.subTest(document=document, key=f"{section}.{key}"):
                    self.assertIn(key, host if section == "host" else plugin)
        self.assertLessEqual({"max_connections", "sandbox", "stall"}, named)

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
