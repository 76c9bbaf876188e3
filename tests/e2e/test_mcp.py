#!/usr/bin/python3
"""MCP as the official clients of both eras, the conformance suite and the Inspector see it."""

import json
import os
import subprocess

from browser import MODULES, NODE, SCRIPTS, needs_node
from harness import PATIENCE_S, TEST_PLUGINS, main, wait_for
from kit import TOKEN, ClientCases


@needs_node
class MCPTest(ClientCases):
    def test_cases(self):
        server = self.serve_kit()
        self.run_cases("mcp", base=server.url, busy=self.serve_busy().url)

    def run_tool(self, script, *args):
        """A program of npm's, and what it printed."""
        return subprocess.run([NODE, os.path.join(MODULES, "node_modules/@modelcontextprotocol", script),
                               *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              cwd=self.folder, env={**os.environ, "HOME": self.folder},
                              timeout=2 * PATIENCE_S)

    def test_conformance(self):
        """All scenarios pass but those of the list, which fail."""
        tools = os.path.join(TEST_PLUGINS, "mcp")
        server = self.prepare()
        for name in os.listdir(tools):
            if name.endswith(".so"):
                os.symlink(os.path.join(tools, name), os.path.join(server.plugin_folder, name))
        server.start()
        wait_for(lambda: server.get("/readyz").status == 200, "the tools serve")
        said = self.run_tool("conformance/dist/index.js", "server", "--suite", "all",
                             "--url", "http://127.0.0.1:%d/mcp" % server.address[1],
                             "--expected-failures",
                             os.path.join(SCRIPTS, "mcp_conformance.yml"))
        self.assertEqual(said.returncode, 0, said.stdout + said.stderr)

    def inspect(self, server, *args):
        said = self.run_tool("inspector/clients/launcher/build/index.js", "--cli",
                             server.url + "/mcp", "--header", f"Authorization: Bearer {TOKEN}", *args)
        self.assertEqual(said.returncode, 0, said.stdout + said.stderr)
        return json.loads(said.stdout)

    def test_inspector(self):
        server = self.serve_kit()
        tools = self.inspect(server, "--method", "tools/list", "--strict")["tools"]
        self.assertEqual(sorted(tool["name"] for tool in tools), ["kit", "kit_fiber"])
        said = self.inspect(server, "--method", "tools/call", "--tool-name", "kit",
                            "--tool-arg", "prompt=text result")
        self.assertEqual(said["structuredContent"], {"answer": 42})


if __name__ == "__main__":
    main()
