"""A server's identity for TLS."""

import os
import ssl
import subprocess

from environment import PATIENCE_S


class Identity:
    """A private key and a certificate that it signed itself, in a folder."""

    def __init__(self, folder, name, algorithm=("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
                 host="localhost"):
        self.certificate = os.path.join(folder, name + ".crt")
        self.key = os.path.join(folder, name + ".key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", *algorithm, "-nodes", "-days", "2",
                        "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:" + host,
                        "-keyout", self.key, "-out", self.certificate],
                       check=True, capture_output=True, timeout=PATIENCE_S)
        self.clients = ssl.create_default_context(cafile=self.certificate)  # they trust no other
