"""nginx in front of a server, with its own defaults but for what a test sets."""

import os
import shutil
import socket
import subprocess
import unittest

from environment import PATIENCE_S, free_port, wait_for

# What a listing of servers stands in.
AROUND = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{listing}
}}
"""

SERVER = """
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://{upstream};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            {more}
        }}
    }}
"""


def needs_nginx(test):
    return unittest.skipUnless(shutil.which("nginx"), "nginx is not installed")(test)


class Nginx:
    def __init__(self, folder, address, more=""):
        os.mkdir(folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = os.path.join(folder, "log")
        config = os.path.join(folder, "conf")
        with open(config, "w") as file:
            listing = SERVER.format(port=self.port, upstream="%s:%d" % address, more=more)
            file.write(AROUND.format(folder=folder, listing=listing))
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(["nginx", "-p", folder, "-c", config],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for(self.is_listening, "nginx listens")
        except BaseException:
            self.stop()
            raise

    def is_listening(self):
        if self.process.poll() is not None:
            with open(self.log_path) as log:
                raise AssertionError(log.read())
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)
