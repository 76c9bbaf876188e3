#!/usr/bin/python3
"""AI SDK UI message stream as the official client sees it."""

from browser import needs_node
from harness import main
from kit import ClientCases


@needs_node
class AISDKTest(ClientCases):
    def test_cases(self):
        server = self.serve_kit()
        self.run_cases("aisdk", base=server.url, busy=self.serve_busy().url)


if __name__ == "__main__":
    main()
