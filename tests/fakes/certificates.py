"""Certificates that vouch for themselves, made by openssl."""

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """A certificate, its key, and a file with both."""

    file: Path
    key: Path
    both: Path

    def served(self, *, asks_for: "Certificate | None" = None) -> ssl.SSLContext:
        """What a server needs to show it, and to ask for the client's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.both)
        if asks_for:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(asks_for.file)
        return context


def self_signed(openssl: str, folder: Path, names: str, *, days: int = 2) -> Certificate:
    """A new certificate for these names, as `IP:127.0.0.1,DNS:localhost`; one of -1 days has expired."""
    made = Certificate(folder / "cert.pem", folder / "key.pem", folder / "both.pem")
    request = folder / "request.pem"
    key = f"{openssl} req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=test".split()
    _run(*key, "-addext", f"subjectAltName={names}", "-keyout", str(made.key), "-out", str(request))
    sign = f"{openssl} x509 -req -copy_extensions copy -days {days}".split()
    _run(*sign, "-in", str(request), "-signkey", str(made.key), "-out", str(made.file))
    made.both.write_bytes(made.file.read_bytes() + made.key.read_bytes())
    return made


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
