#!/usr/bin/python3
"""The installed headers compile alone, in each language, and beside headers of others."""

import glob
import os
import shutil
import subprocess
import tempfile
import unittest

from harness import BINARY, SRCDIR, main

BUILD = os.path.dirname(BINARY)
HEADERS = sorted(os.path.basename(path) for path in glob.glob(os.path.join(SRCDIR, "sdk", "*.h")))
LANGUAGES = [(compiler, suffix, standard)
             for compiler, suffix, standards in (("gcc", ".c", ("c99", "c11", "c2x")),
                                                 ("clang", ".c", ("c99", "c11", "c2x")),
                                                 ("g++", ".cc", ("c++20",)),
                                                 ("clang++", ".cc", ("c++20",)))
             if shutil.which(compiler) for standard in standards]
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
NO_SHORT_NAMES = "#define AGENT_NO_SHORT_NAMES\n"
ALL = "".join(f"#include <sluice/{name}>\n" for name in HEADERS)

# Each short name and its full name, as its family is.
SHORT = {name: "agent_" + name for name in (
    "ctx_bind", "ctx_capture", "ctx_release", "emit_json", "json_number", "json_parse",
    "json_string", "run_cancelled", "run_fail", "run_input", "run_result", "task_join",
    "task_scope", "task_spawn")}

# As jansson 2.14 declares what is of interest here; others have its names without its guard.
JANSSON = """
#ifndef JANSSON_H
#define JANSSON_H
typedef struct json_t json_t;
json_t *json_string(const char *value);
json_t *json_integer(long long value);
const char *json_string_value(const json_t *string);
double json_number_value(const json_t *json);
#endif
"""
OTHERS = """
struct json_value;
struct json_value *json_parse(const void *text, unsigned long size);
struct json_value *json_string(const char *value);
int json_number(int value);
int run_fail(void);
void task_join(int task);
void *task_spawn(void (*fn)(void));
"""
C_ONLY = '#ifdef __cplusplus\nextern "C" {\n#endif\n%s\n#ifdef __cplusplus\n}\n#endif\n'


class HeadersTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        with open(os.path.join(self.folder.name, "jansson.h"), "w", encoding="utf-8") as header:
            header.write(C_ONLY % JANSSON)

    def compile(self, language, text, *words):
        """What a compiler says of a source, which is "" if it finds no fault."""
        compiler, suffix, standard = language
        source = os.path.join(self.folder.name, "source" + suffix)
        with open(source, "w", encoding="utf-8") as file:
            file.write(text)
        done = subprocess.run([compiler, "-std=" + standard, "-fsyntax-only", *STRICT, *words,
                               "-I" + os.path.join(BUILD, "include"), source],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode == 0, done.stderr == "", done.stderr)
        return done.stderr

    def check(self, text, *words):
        """A source compiles in each language."""
        for language in LANGUAGES:
            with self.subTest(language=language):
                self.assertEqual(self.compile(language, text, *words), "")

    def test_each_alone(self):
        for name in HEADERS:
            with self.subTest(header=name):
                self.check(f"#include <sluice/{name}>\n")

    def test_licence(self):
        for name in HEADERS:
            with open(os.path.join(SRCDIR, "sdk", name), encoding="utf-8") as header:
                self.assertEqual(header.readline(), "/* SPDX-License-Identifier: MIT */\n", name)

    def test_each_short_name_is_its_full_name(self):
        uses = "".join(f"    (void)({short} == {full});\n" for short, full in SHORT.items())
        self.check(ALL + "int depth = JSON_PARSE_DEPTH_MAX - AGENT_JSON_PARSE_DEPTH_MAX;\n"
                   f"void use(void);\nvoid use(void)\n{{\n{uses}}}\n", "-Wno-tautological-compare",
                   "-Wno-address")

    def test_no_short_names(self):
        """All but four names are the author's own then."""
        own = "".join(f"extern double {short};\n#ifdef {short}\n#error {short}\n#endif\n"
                      for short in (*SHORT, "JSON_PARSE_DEPTH_MAX"))
        self.check(NO_SHORT_NAMES + ALL + own)
        uses = "".join(f"    (void){name};\n" for name in
                       ("emit_event", "emit_text", "ctx_get", "ctx_set", *SHORT.values()))
        self.check(NO_SHORT_NAMES + ALL + f"void use(void);\nvoid use(void)\n{{\n{uses}}}\n")

    def test_all_names_have_the_prefix(self):
        """What a header defines, but for the short names, begins with agent_ or AGENT_."""
        free = {"emit_event", "emit_text", "ctx_get", "ctx_set"}
        for name in HEADERS:
            macros = self.defined(NO_SHORT_NAMES + f"#include <sluice/{name}>\n")
            self.assertTrue(macros)
            for macro in macros:
                self.assertRegex(macro, "^(AGENT|SLUICE)_")
            with open(os.path.join(SRCDIR, "sdk", name), encoding="utf-8") as header:
                text = header.read()
            functions = [words.split()[-1].lstrip("*") for words in self.functions(text)]
            for function in functions:
                self.assertTrue(function.startswith("agent_") or function in free, function)

    @staticmethod
    def functions(text):
        """What stands before the parameters of each function, of which each begins a line."""
        lines = [line for line in text.split("\n") if line[:1].isalpha() and "(" in line]
        return [line.removeprefix("AGENT_PRINTF(2, 3) ").partition("(")[0] for line in lines
                if not line.startswith(("extern \"C\"", "typedef"))]

    def defined(self, text):
        """The macros that are defined in the headers of the SDK itself."""
        source = os.path.join(self.folder.name, "macros.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write(text)
        done = subprocess.run(["gcc", "-E", "-dD", "-I" + os.path.join(BUILD, "include"), source],
                              capture_output=True, text=True, check=True)
        found, ours = [], False
        for line in done.stdout.split("\n"):
            if line.startswith("# "):
                ours = "/sluice/" in line
            elif ours and line.startswith("#define "):
                found.append(line.split()[1].partition("(")[0])
        return found

    def test_after_jansson(self):
        """Both are of use then."""
        self.check('#include "jansson.h"\n' + ALL + """
            json_t *of_jansson(void);
            json_t *of_jansson(void)
            {
                return json_string("a");
            }
            const char *of_agent(const cJSON *json);
            const char *of_agent(const cJSON *json)
            {
                return agent_json_number(json, "n", 0) > 1 ? agent_json_string(json, "s", "")
                                                           : run_cancelled() ? "" : NULL;
            }
""")

    def test_before_jansson(self):
        self.check(NO_SHORT_NAMES + ALL + '#include "jansson.h"\n')
        text = ALL + '#include "jansson.h"\n'
        self.assertIn("json_string", self.compile(("gcc", ".c", "c11"), text))

    def test_beside_others(self):
        self.check(C_ONLY % OTHERS + ALL)
        self.check(NO_SHORT_NAMES + ALL + C_ONLY % OTHERS)

    @unittest.skipUnless(os.path.exists("/usr/include/jansson.h"), "jansson is not installed")
    def test_real_jansson(self):
        real = "#include </usr/include/jansson.h>\n"
        for text in (real + ALL, NO_SHORT_NAMES + ALL + real, NO_SHORT_NAMES + real + ALL):
            self.assertEqual(self.compile(("gcc", ".c", "c11"), text), "")


if __name__ == "__main__":
    main()
