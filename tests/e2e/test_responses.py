#!/usr/bin/python3
"""OpenAI Responses as the official client and those built on it see them."""

from browser import needs_node
from harness import main
from kit import ClientCases


@needs_node
class ResponsesTest(ClientCases):
    def test_cases(self):
        server = self.serve_kit()
        self.run_cases("responses", base=server.url, busy=self.serve_busy().url)


if __name__ == "__main__":
    main()
