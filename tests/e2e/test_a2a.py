#!/usr/bin/python3
"""A2A as the official client sees it."""

from browser import needs_node
from harness import main
from kit import ClientCases


@needs_node
class A2ATest(ClientCases):
    def test_cases(self):
        server = self.serve_kit()
        self.run_cases("a2a", base=server.url, busy=self.serve_busy().url)


if __name__ == "__main__":
    main()
