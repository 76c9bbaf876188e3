"""
What runs tests/clients: headless Chromium with a page from a server of its own, and Node.
Both get jobs, for several clients side by side, and give their results in the same order;
see tests/clients/clients.mjs.
"""

import glob
import http.server
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
import unittest
import uuid

from harness import MARK, SRCDIR, processes_with, wait_for

SCRIPTS = os.path.join(SRCDIR, "tests", "clients")
MODULES = os.environ.get("SLUICE_TEST_CLIENTS", "")  # where make has put node_modules

# So long a browser may take to start and to end.
START_S = 30


def works(command):
    """Whether it is there and is what it is called, no stand-in that only says how to get it."""
    try:
        return subprocess.run([command, "--version"], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=START_S).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find(*names):
    return next((name for name in names if shutil.which(name) and works(name)), None)


def node_version(node):
    said = subprocess.run([node, "--version"], capture_output=True, text=True)
    return int(said.stdout.strip().removeprefix("v").partition(".")[0])


CHROMIUM = find("chromium", "chromium-browser", "google-chrome")
# The system's may be older than the clients can be run by; that of npm is for some machines only.
NODE = find(*glob.glob(os.path.join(MODULES, "node_modules/node-linux-*/bin/node")),
            "node", "nodejs")


def needs_modules(test):
    """Skips the test if the clients are not there."""
    return unittest.skipUnless(os.path.exists(os.path.join(MODULES, "stamp")),
                               "the npm packages of tests/clients are not installed: "
                               "that needs node and npm, found by configure, and the network")(test)


def needs_chromium(test):
    return unittest.skipUnless(CHROMIUM, "there is no chromium")(needs_modules(test))


def needs_node(test):
    return unittest.skipUnless(NODE and node_version(NODE) >= 22,
                               "there is no node, or one before 22")(needs_modules(test))


# ---- Node ----

def run_in_node(jobs, patience_s, script="node.mjs"):
    """What the script of tests/clients prints, which has the jobs as its standard input."""
    ended = subprocess.run([NODE, "--preserve-symlinks", "--preserve-symlinks-main",
                            os.path.join(MODULES, "clients", script)],
                           input=json.dumps(jobs), capture_output=True, text=True,
                           timeout=patience_s)
    if ended.returncode != 0:
        raise AssertionError(f"node: {ended.stderr}")
    return json.loads(ended.stdout)


# ---- the page and its server ----

class PageHandler(http.server.SimpleHTTPRequestHandler):
    """The files of tests/clients and node_modules, the jobs, and where their results go."""

    extensions_map = {".html": "text/html", ".mjs": "text/javascript", ".js": "text/javascript",
                      "": "application/octet-stream"}

    def __init__(self, *args):
        super().__init__(*args, directory=SCRIPTS)

    def translate_path(self, path):
        if path.startswith("/node_modules/"):
            return os.path.join(MODULES, path[1:])
        if path == "/bundle.js":
            return self.server.bundle
        return super().translate_path(path)

    def reply(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/jobs":
            self.reply(self.server.jobs)
        else:
            super().do_GET()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(b"{}")
        self.server.results.put(json.loads(body))

    def log_message(self, *args):
        self.server.log.append(args[0] % args[1:])


class PageServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), PageHandler)
        self.jobs = b"[]"
        self.bundle = None  # the file of /bundle.js
        self.results = queue.Queue()
        self.log = []
        self.origin = f"http://127.0.0.1:{self.server_address[1]}"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self.thread.start()

    def stop(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


# ---- Chromium ----

class Chromium:
    """A browser of its own with one page, and nothing to do with the world outside."""

    FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-dev-shm-usage", "--no-proxy-server",
             "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")

    def __init__(self, folder, address):
        os.mkdir(folder)
        self.mark = uuid.uuid4().hex
        self.log_path = os.path.join(folder, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [CHROMIUM, *self.FLAGS, f"--user-data-dir={os.path.join(folder, 'profile')}",
                 "--enable-logging=stderr", address],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "HOME": folder, MARK: self.mark})

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def close(self):
        """Ends it, and sees that nothing of it is left."""
        self.process.terminate()
        try:
            self.process.wait(START_S)
        finally:
            for pid in processes_with(self.mark):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait(START_S)
            wait_for(lambda: not processes_with(self.mark), "the browser's processes are gone")


def run_in_chromium(pages, folder, jobs, patience_s, page="page.html"):
    """What the page posts of these jobs."""
    pages.jobs = json.dumps(jobs).encode()
    browser = Chromium(folder, f"{pages.origin}/{page}")
    deadline = time.monotonic() + patience_s
    try:
        while True:
            try:
                return pages.results.get(timeout=0.2)
            except queue.Empty:
                if browser.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the page has no results: {pages.log}\n"
                                         f"{browser.log()}") from None
    finally:
        browser.close()
