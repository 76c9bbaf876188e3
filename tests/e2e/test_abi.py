#!/usr/bin/python3
"""Plugins that were built on an older version of the SDK still load and run."""

import re

from harness import SRCDIR, Test, main, text_of, types


def minor_of(path):
    with open(f"{SRCDIR}/{path}", encoding="utf-8") as header:
        return int(re.search(r"#define AGENT_ABI_MINOR (\d+)", header.read())[1])


class AbiTest(Test):
    def test_1_0(self):
        self.assertEqual(minor_of("tests/abi/agent-1.0.h"), 0)
        self.assertGreater(minor_of("sdk/agent.h"), 0)
        events = self.serve("abi_1_0").run("abi_1_0", {"a": 1})
        self.assertEqual(types(events), ["run", "key", "text", "done"])
        self.assertEqual(events[1].json(), {"a": 1})
        self.assertEqual(text_of(events), "self")
        self.assertEqual(events[-1].json(), {"status": "finished", "result": 1})


if __name__ == "__main__":
    main()
