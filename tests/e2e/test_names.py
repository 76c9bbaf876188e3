#!/usr/bin/python3
"""A plugin's names are its own; where the host's replace them, `check` says which."""

import os
import re
import subprocess
import unittest

from harness import REFERENCE_PLUGINS, SANITIZED, Test, main, run_sluice
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


if __name__ == "__main__":
    main()
