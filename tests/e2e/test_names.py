#!/usr/bin/python3
"""A plugin's names are its own; where the host's replace them, `check` says which."""

import errno
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import unittest

from harness import (BINARY, REFERENCE_PLUGINS, SANITIZED, Test, copy_programs, main, plugin_path,
                     run_sluice, wait_for)
from test_abi import pkg_config

# A library of others: names that the C library has, too.
LIBRARY = """
int regcomp(void *to, const char *text, int flags);
int optind;
int regcomp(void *to, const char *text, int flags) { return to || !text || flags ? 1 : 7; }
int optind = 99;
__attribute__((weak)) int regexec(void) { return 8; }
"""

PLUGIN = """
#include <sluice/agent.h>
#include <stdio.h>
int regcomp(void *to, const char *text, int flags);
extern int optind;
static int handle(void *self, const char *input)
{
    char json[64];

    (void)self;
    (void)input;
    snprintf(json, sizeof json, "{\\"regcomp\\":%d,\\"optind\\":%d}", regcomp(0, "", 0), optind);
    return emit_event("names", json);
}
AGENT_PLUGIN(.name = "named", .version = "1", .handle = handle)
"""

UNPROTECTED = ["-Wl,-z,defs", "-Wl,-z,now"]
REPLACED = (r"sluice: warning: (\w+) of ([\w.]+) is replaced by the host's ([\w.-]+): (.*)\n")


class Names(Test):
    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def cc(self, *words, compiler="cc"):
        subprocess.run([compiler, *words], check=True, cwd=self.folder)

    def archive(self, name, text):
        self.cc("-fPIC", "-c", self.write(name + ".c", text), "-o", self.path(name + ".o"))
        subprocess.run(["ar", "rcs", self.path(f"lib{name}.a"), self.path(name + ".o")], check=True)
        return self.path(f"lib{name}.a")

    def plugin(self, text, *words, name="named"):
        plugin = self.path(name + ".so")
        self.cc("-shared", "-fPIC", *pkg_config("--cflags", "sluice"),
                self.write(name + ".c", text), "-o", plugin, *words)
        return plugin

    def check(self, plugin):
        """What is warned of: name, whose, by what it is replaced, what to do."""
        ended = run_sluice("check", plugin)
        self.assertEqual(ended.returncode, 0, ended)
        self.assertIn(b"fit to serve", ended.stdout)
        said = ended.stderr.decode()
        found = re.findall(REPLACED, said)
        self.assertEqual(re.sub(REPLACED, "", said), "")
        return sorted(found)


@unittest.skipIf(SANITIZED, "a sanitizer's own names are in front of the C library's")
class Check(Names):
    def test_replaced(self):
        advice = "link with `pkg-config --libs sluice`"
        plugin = self.plugin(PLUGIN, *UNPROTECTED, self.archive("others", LIBRARY))
        (optind, *_), regcomp = self.check(plugin)
        self.assertEqual(optind, "optind")
        self.assertEqual(regcomp, ("regcomp", "named.so", "libc.so.6", advice))

    def test_protected(self):
        plugin = self.plugin(PLUGIN, self.archive("others", LIBRARY), *pkg_config("--libs", "sluice"))
        self.assertEqual(self.check(plugin), [])
        ended = run_sluice("run", plugin)
        self.assertIn(b'data: {"regcomp":7,"optind":99}\n', ended.stdout)

    def test_replaced_in_a_library_of_the_plugin(self):
        self.cc("-shared", "-fPIC", self.write("others.c", LIBRARY), "-o", self.path("libothers.so"))
        plugin = self.plugin(PLUGIN, *pkg_config("--libs", "sluice"), "-L.", "-lothers",
                             "-Wl,-rpath,$ORIGIN")
        found = self.check(plugin)
        self.assertEqual([(name, whose) for name, whose, _, _ in found],
                         [("optind", "libothers.so"), ("regcomp", "libothers.so")])
        for *_, advice in found:
            self.assertIn("statically", advice)

    def test_many(self):
        """Ten are named, the others counted."""
        names = ("regcomp regexec regfree regerror glob globfree wordexp wordfree ftw nftw "
                 "hcreate hdestroy hsearch").split()
        text = "".join(f"int {name}(void);int {name}(void) {{ return 1; }}" for name in names)
        plugin = self.plugin(
            text + "int sum(void); int sum(void) { return %s; }" %
            " + ".join(name + "()" for name in names) +
            PLUGIN.replace("int regcomp(void *to, const char *text, int flags);", "")
            .replace('regcomp(0, "", 0)', "sum()"), "-fvisibility=default", "-fno-builtin", "-w",
            *UNPROTECTED)
        said = run_sluice("check", plugin).stderr.decode().splitlines()
        self.assertEqual(len(said), 11, said)
        self.assertRegex(said[-1], r"^sluice: warning: so are \d+ more names of named.so "
                                   "and its libraries$")

    def test_harmless(self):
        """What a library may replace by design, and what two share, is not told."""
        plugin = self.plugin(PLUGIN + """
            #include <stdlib.h>
            void *malloc(size_t size);
            void free(void *memory);
            __attribute__((visibility("default"))) void *malloc(size_t size) { return calloc(1, size); }
            __attribute__((visibility("default"))) void free(void *memory) { realloc(memory, 0); }
            __attribute__((visibility("default"), weak)) int regcomp(void *a, const char *b, int c)
            { return a || b || c; }
            void *take(void);
            void *take(void) { return malloc(1); }
            """, *UNPROTECTED, "-w")
        self.assertEqual([name for name, *_ in self.check(plugin)], [])
        for name in ("chat", "echo", "ticker"):
            self.assertEqual(self.check(os.path.join(REFERENCE_PLUGINS, name + ".so")), [])


# A name of each library that the host, its HTTP client or what those need are linked with.
VENDORED = ("cJSON_Version uv_version_string ini_parse lt_dlopen curl_version SSL_library_init "
            "OpenSSL_version gnutls_check_version nghttp2_version MHD_get_version zlibVersion "
            "sqlite3_libversion BrotliDecoderVersion ZSTD_versionString ldap_init krb5_init_context "
            "idn2_check_version nettle_version_major").split()


@unittest.skipIf(SANITIZED, "a sanitizer brings libraries of its own")
class Vendored(Names):
    """A plugin that brings libraries of the same names as the host's, without a flag of ours."""

    LIBRARY = "".join(f"int {name}(void); int {name}(void) {{ return 7; }}\n" for name in VENDORED)
    TEXT = """
        #include <sluice/agent.h>
        #include <sluice/agent_http.h>
        #include <stdio.h>
        %s
        static int sum(void) { return %s; }
        static int handle(void *self, const char *input)
        {
            struct agent_http_request request = {.url = "http://127.0.0.1:1/"};
            struct agent_http *http;
            char json[64];
            int before = sum(), status;

            (void)self;
            (void)input;
            if ((status = agent_http_open(&request, &http)) < 0)
                return status;
            status = agent_http_status(http); /* libcurl is loaded now */
            agent_http_close(http);
            snprintf(json, sizeof json, "{\\"sums\\":[%%d,%%d],\\"http\\":%%d}", before, sum(), status);
            return emit_event("own", json);
        }
        AGENT_PLUGIN(.name = "named", .version = "1", .handle = handle)
        """ % ("".join(f"int {name}(void);" for name in VENDORED),
               " + ".join(f"{name}()" for name in VENDORED))
    OWN = {"sums": [7 * len(VENDORED)] * 2, "http": -errno.ECONNREFUSED}

    def try_plugin(self, plugin):
        self.assertEqual(self.check(plugin), [])
        ended = run_sluice("run", plugin)
        self.assertIn(f"data: {json.dumps(self.OWN, separators=(',', ':'))}\n", ended.stdout.decode())
        server = self.prepare()
        shutil.copy(plugin, os.path.join(server.plugin_folder, "named.so"))
        server.start()
        event, = (event for event in server.run("named", {}) if event.type == "own")
        self.assertEqual(event.json(), self.OWN)

    def test_in_the_plugin(self):
        self.try_plugin(self.plugin(self.TEXT, *UNPROTECTED, self.archive("vendored", self.LIBRARY)))

    def test_in_a_library(self):
        self.cc("-shared", "-fPIC", self.write("vendored.c", self.LIBRARY), "-o",
                self.path("libvendored.so"))
        self.try_plugin(self.plugin(self.TEXT, *UNPROTECTED, "-L.", "-lvendored",
                                    f"-Wl,-rpath,{self.folder}"))

    def test_a_wide_scope_is_told(self):
        """What is preloaded is looked at before a plugin."""
        plugin = self.plugin(self.TEXT, *UNPROTECTED, self.archive("vendored", self.LIBRARY))
        ended = run_sluice("check", plugin, env={"LD_PRELOAD": "libcjson.so.1"})
        self.assertIn(b"cJSON_Version of named.so is replaced by the host's libcjson.so.1: "
                      b"link with `pkg-config --libs sluice`\n", ended.stderr)

    def test_programs(self):
        """The one that holds plugins needs the C library alone, where the others are archives."""
        with open(os.path.join(os.path.dirname(BINARY), "Makefile"), encoding="utf-8") as file:
            makefile = file.read()
        for name in ("UV", "INIH", "LTDL"):
            if not re.search(rf"(?m)^WORKER_{name}_LIBS = /.*\.a$", makefile):
                self.skipTest(f"no archive for WORKER_{name}_LIBS")
        needs = subprocess.run(["readelf", "-dW", BINARY], check=True, capture_output=True,
                               text=True).stdout
        self.assertLessEqual(set(re.findall(r"NEEDED.*\[(.*?)\.so", needs)),
                             {"libc", "libm", "ld-linux-x86-64"})


class Foreign(Names):
    """Plugins for other machines and systems are refused in words, by each command."""

    HERE = {"x86_64": "64-bit x86-64", "aarch64": "64-bit ARM64"}.get(platform.machine())

    def setUp(self):
        super().setUp()
        if self.HERE is None:
            self.skipTest("what this machine is called is not known here")
        with open(plugin_path("echo"), "rb") as file:
            self.plugin_bytes = bytearray(file.read())

    def refused(self, words, name="echo"):
        path = self.path(name + ".so")
        with open(path, "wb") as file:
            file.write(self.plugin_bytes)
        for command in ("check", "run"):
            ended = run_sluice(command, path)
            self.assertEqual(ended.returncode, 1)
            self.assertIn(words, ended.stderr.decode())
        server = self.prepare("ticker")
        shutil.copy(path, server.plugin_folder)
        server.start()
        self.assertIn(words, server.log())

    def test_machines(self):
        for bytes_at, words in (
                ({4: 1, 18: 3, 19: 0}, "built for 32-bit i386, this host is " + self.HERE),
                ({4: 1, 18: 40, 19: 0}, "built for 32-bit ARM, this host is " + self.HERE),
                ({18: 243, 19: 0}, "built for 64-bit RISC-V, this host is " + self.HERE),
                ({18: 254, 19: 202}, "built for 64-bit machine 51966, this host is " + self.HERE),
                ({5: 2, 18: 0, 19: 22}, "built for 64-bit s390x (big-endian), this host is " + self.HERE),
                ({7: 9}, "built for FreeBSD, this host is Linux")):
            with self.subTest(words=words):
                whole = bytes(self.plugin_bytes)
                for at, byte in bytes_at.items():
                    self.plugin_bytes[at] = byte
                self.refused(words)
                self.plugin_bytes = bytearray(whole)

    def test_c_libraries(self):
        """The name of the needed library is as long as that of glibc's."""
        for name, words in ((b"libc.so\0\0", "built for musl (needs libc.so), this host uses glibc"),
                            (b"libc.musl-", "built for musl (needs libc.musl-")):
            with self.subTest(words=words):
                self.cc("-shared", "-fPIC", "-Wl,-soname," + (name.rstrip(b"\0").decode() + "x" * (
                    3 if name.endswith(b"-") else 0)), self.write("c.c", "int other;"), "-o",
                        self.path("libother.so"))
                plugin = self.plugin(PLUGIN + "extern int other; int *use(void); "
                                     "int *use(void) { return &other; }", "-Wl,--no-as-needed",
                                     self.path("libother.so"))
                with open(plugin, "rb") as file:
                    self.plugin_bytes = file.read()
                self.refused(words, "named")


@unittest.skipIf(SANITIZED, "clang and gcc have sanitizers of their own")
class CxxLinks(Names):
    """What C++ shares between a plugin and its library, under our flags, by each linker there is."""

    HEADER = """
        struct with_key { virtual ~with_key(); int code; };
        struct without_key { virtual ~without_key() {} int code; };
        void throw_with_key();
        void throw_without_key();
        int twice(int);
        bool is_twice(int (*function)(int));
        """
    LIBRARY = """
        #include "names.h"
        with_key::~with_key() {}
        void throw_with_key() { with_key thrown; thrown.code = 5; throw thrown; }
        void throw_without_key() { without_key thrown; thrown.code = 6; throw thrown; }
        int twice(int n) { return 2 * n; }
        bool is_twice(int (*function)(int)) { return function == twice; }
        """
    TEXT = """
        #include <sluice/agent.h>
        #include <cstdio>
        #include <stdexcept>
        #include "names.h"
        static int handle(void *, const char *)
        {
            int a = 0, b = 0, c = 0;
            char json[64];
            try { throw_with_key(); } catch (const with_key &caught) { a = caught.code; }
            try { throw_without_key(); } catch (const without_key &caught) { b = caught.code; }
            try { throw std::runtime_error("x"); } catch (const std::exception &) { c = 7; }
            std::snprintf(json, sizeof json, "{\\"caught\\":[%d,%d,%d],\\"same\\":%d}", a, b, c,
                          is_twice(twice));
            return emit_event("cxx", json);
        }
        AGENT_PLUGIN(.name = "named", .version = "1", .handle = handle)
        """
    STATIC = ["-static-libstdc++", "-static-libgcc"]

    def test_links(self):
        self.write("names.h", self.HEADER)
        flags = pkg_config("--libs", "sluice")
        for compiler in filter(shutil.which, ("g++", "clang++")):
            for name, text in (("library", self.LIBRARY), ("plugin", self.TEXT)):
                self.cc("-std=c++20", "-fPIC", *pkg_config("--cflags", "sluice"), "-fvisibility=default",
                        "-c", self.write(name + ".cc", text), "-o", name + ".o", compiler=compiler)
            for linker in ("bfd", "gold", "lld"):
                if not shutil.which("ld." + linker):
                    continue
                link = ["-shared", f"-fuse-ld={linker}"]
                self.cc(*link, "library.o", "-o", "libnamed.so", compiler=compiler)
                for how, words in (("shared", ["-L.", "-lnamed", f"-Wl,-rpath,{self.folder}"]),
                                   ("static", ["library.o", *self.STATIC])):
                    with self.subTest(compiler=compiler, linker=linker, how=how):
                        self.cc(*link, "plugin.o", *words, *flags, "-o", "named.so", compiler=compiler)
                        ended = run_sluice("run", self.path("named.so"))
                        self.assertIn(b'data: {"caught":[5,6,7],"same":1}\n', ended.stdout, ended)
                        self.assertEqual(self.check(self.path("named.so")), [])


class Programs(Names):
    def test_one_is_missing(self):
        program = shutil.copy(BINARY, self.folder)
        ended = subprocess.run([program, "check", "x.so"], capture_output=True, check=False)
        self.assertEqual(ended.returncode, 1)
        self.assertRegex(ended.stderr, b"^sluice: the program sluice-front is neither in .* nor in ")
        front = shutil.copy(BINARY + "-front", self.folder)
        os.remove(program)
        ended = subprocess.run([front, "serve"], capture_output=True, check=False)
        self.assertEqual(ended.returncode, 1)
        self.assertRegex(ended.stderr, b"^sluice: the program sluice is neither in ")

    def test_an_upgrade_in_place(self):
        """A server starts workers of its own build when its files are others."""
        server = self.prepare("echo")
        server.args[0] = copy_programs(self.folder)
        server.start()
        before = server.worker_of("echo")
        os.remove(server.args[0])
        with open(server.args[0], "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nexit 1\n")
        os.chmod(server.args[0], 0o755)
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: server.serving("echo") not in ([], [before]), "another worker serves")

    def test_two_versions(self):
        ended = subprocess.run([BINARY, "worker", "x.so", "0.0"], capture_output=True, check=False)
        self.assertEqual(ended.returncode, 2)
        self.assertRegex(ended.stderr, rb"this program is sluice [\d.]+, the server is sluice 0\.0: ")


if __name__ == "__main__":
    main()
