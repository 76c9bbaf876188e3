#!/usr/bin/python3
"""What agents declare of themselves: told to clients, held against inputs, refused if it is wrong."""

import os
import subprocess

from harness import Test, main, run_sluice
from test_abi import pkg_config

PLUGIN = """
#include <sluice/agent.h>
#include <stdbool.h>
static int handle(void *self, const char *input)
{
    (void)self;
    return emit_event("input", input);
}
AGENT_PLUGIN(.name = "NAME", .version = "VERSION", .description = "It does", .handle = handle,
             MEMBERS)
"""

SCHEMA = """.title = "Greeter",
    .input_schema = AGENT_JSON({"type": "object", "properties": {
        "who": {"type": "string", "minLength": 1, "description": "by \\"name\\", please"},
        "loud": {"enum": [true, false]}}, "required": ["who"], "additionalProperties": false}),
    .output_schema = AGENT_JSON({"type": "object"}),
    .examples = AGENT_JSON([{"who": "world"}, {"who": "you", "loud": true}]),
    .tags = "greeting, words"
"""

PROTOCOLS = ["native", "openai", "responses", "ag-ui", "ai-sdk", "a2a", "mcp"]

OTHER = """.input_schema = AGENT_JSON({"type": "object", "required": ["whom"]})"""


class Declared(Test):
    def build(self, name, members, version="1", compiler=("cc", "-std=c99")):
        source = self.path(name + (".cc" if "++" in compiler[0] else ".c"))
        with open(source, "w", encoding="utf-8") as file:
            file.write(PLUGIN.replace("MEMBERS", members).replace("NAME", name)
                       .replace("VERSION", version))
        plugin = self.path(name + ".so")
        subprocess.run([*compiler, "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", source,
                        "-o", plugin, *pkg_config("--cflags", "--libs", "sluice")], check=True)
        return plugin

    def serve_built(self, *plugins):
        server = self.prepare()
        for plugin in plugins:
            os.symlink(plugin, os.path.join(server.plugin_folder, os.path.basename(plugin)))
        server.start()
        return server

    def check_unfit(self, members, words, name="unfit"):
        plugin = self.build(name, members)
        for command in ("check", "run"):
            ended = run_sluice(command, plugin)
            self.assertEqual(ended.returncode, 1, ended)
            self.assertIn(f"refused at declare: {plugin}: {words}", ended.stderr.decode())

    def test_agent_is_shown(self):
        server = self.serve_built(self.build("greeter", SCHEMA))
        shown = server.get("/agents/greeter").json()
        self.assertEqual(shown, {
            "name": "greeter", "state": "serving", "version": "1", "generation": 1,
            "title": "Greeter", "description": "It does",
            "input_schema": {"type": "object", "properties": {
                "who": {"type": "string", "minLength": 1, "description": "by \"name\", please"},
                "loud": {"enum": [True, False]}}, "required": ["who"],
                "additionalProperties": False},
            "output_schema": {"type": "object"},
            "examples": [{"who": "world"}, {"who": "you", "loud": True}],
            "tags": ["greeting", "words"], "protocols": PROTOCOLS})
        self.check_problem(server.get("/agents/nobody"), 404, "Not Found",
                           "there is no agent 'nobody' here; GET /agents lists those there are")

    def test_input_is_held_against_the_schema(self):
        server = self.serve_built(self.build("greeter", SCHEMA))
        self.assertEqual(server.run("greeter", {"who": "é"})[1].json(), {"who": "é"})
        for value, words in (({}, 'at "": the member "who" is missing'),
                             ([], 'at "": found an empty array, wanted an object'),
                             ({"who": 1}, 'at "/who": found 1, wanted a string'),
                             ({"who": "x", "loud": "yes"},
                              'at "/loud": found "yes", wanted one of true, false')):
            for query in ("", "?mode=wait", "?mode=detach"):
                answer = server.post("greeter", value, query)
                self.check_problem(answer, 422, "Unprocessable Content",
                                   "the input does not match the input_schema of the agent "
                                   f"'greeter': {words}")
                self.assertNotIn("Location", answer.headers)
        self.assertEqual(len(server.lines("run started")), len(server.lines("run ended")))

    def test_generation_decides(self):
        plugin = self.build("greeter", SCHEMA)
        server = self.serve_built(plugin)
        self.assertEqual(server.post("greeter", {"whom": 1}).status, 422)
        self.build("greeter", OTHER, version="2")
        ended = run_sluice("reload", "--admin", server.admin, "greeter")
        self.assertEqual(ended.returncode, 0, ended)
        self.assertEqual(server.run("greeter", {"whom": 1})[1].json(), {"whom": 1})

    def test_run_and_cxx(self):
        plugin = self.build("greeter", SCHEMA, compiler=("c++", "-std=c++20"))
        self.assertIn(b"fit to serve", run_sluice("check", plugin).stdout)
        ended = run_sluice("run", plugin, '{"who":""}')
        self.assertEqual(ended.returncode, 1)
        self.assertEqual(ended.stderr.decode(),
                         'sluice: the input does not match input_schema: at "/who": found 0 '
                         "characters, wanted at least 1\n")
        self.assertEqual(run_sluice("run", plugin, '{"who":"you"}').returncode, 0)

    def test_wrong_declarations_are_refused(self):
        self.check_unfit('.input_schema = "{"', "input_schema: it is not JSON at byte 1")
        self.check_unfit('.input_schema = AGENT_JSON({"type": "string"})',
                         'input_schema: it must say "type":"object"')
        self.check_unfit('.output_schema = AGENT_JSON({"type": "object", "pattern": "x"})',
                         'output_schema: at "": the keyword "pattern" is not among those')
        self.check_unfit('.examples = "{}"', "examples is not a JSON list of inputs: [...]")
        self.check_unfit('.examples = "[1,"', "examples is not JSON at byte 3")
        self.check_unfit('.input_schema = AGENT_JSON({"type": "object", "required": ["a"]}),'
                         '.examples = AGENT_JSON([{"a": 1}, {}])',
                         'example 2 does not match input_schema: at "": the member "a" is missing')
        self.check_unfit('.title = "two\\nlines"', "title has a control character; it is one line")
        self.check_unfit('.tags = "\\xff"', "tags is not UTF-8")

    def test_refused_declaration_leaves_the_old_generation(self):
        server = self.serve_built(self.build("greeter", SCHEMA))
        self.build("greeter", '.input_schema = "[]"', version="2")
        ended = run_sluice("reload", "--admin", server.admin, "greeter")
        self.assertIn(b"refused at declare", ended.stdout + ended.stderr)
        self.assertEqual(ended.returncode, 1)
        self.assertEqual(server.get("/agents/greeter").json()["version"], "1")

    def test_dot_in_a_name_is_warned_of(self):
        ended = run_sluice("check", self.build("a.b", '.title = "t"'))
        self.assertEqual(ended.returncode, 0, ended)
        self.assertIn("warning: the name 'a.b' has a '.'", ended.stderr.decode())


if __name__ == "__main__":
    main()
