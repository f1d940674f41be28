"""HTTPS: the key and the certificate, looked at before we listen, with a plain sentence for what is wrong.

OpenSSL alone would name neither the file nor the date, and would ask for a password on the terminal.
"""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17  # with two digits for the year; the other form has four
_LONG_LENGTH: Final = 0x80


class UnusableTls(Exception):
    """The key or the certificate cannot be used; the message is one sentence for people."""


def tls_context(certfile: Path | None, keyfile: Path | None, now: datetime) -> ssl.SSLContext | None:
    """What HTTPS is served with; None when neither file is named."""
    if certfile is None and keyfile is None:
        return None
    if certfile is None or keyfile is None:
        missing = "--ssl_certfile_path" if certfile is None else "--ssl_keyfile_path"
        raise UnusableTls(f"HTTPS needs a key and a certificate; add {missing}")
    _check_dates(certfile, _read(certfile, "certificate"), now)
    key = _read(keyfile, "key")
    if "PRIVATE KEY-----" not in key:
        raise UnusableTls(f"{keyfile} holds no private key in PEM form")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    _load(context, certfile, keyfile)
    return context


def renew(context: ssl.SSLContext | None, certfile: Path | None, keyfile: Path | None, now: datetime) -> None:
    """Use what the files hold now for every connection from now on. Raises UnusableTls, and then nothing changes."""
    if context is None or certfile is None or keyfile is None:
        return
    tls_context(certfile, keyfile, now)
    _load(context, certfile, keyfile)


def _read(file: Path, what: str) -> str:
    try:
        return file.read_text("ascii", "replace")
    except OSError as problem:
        raise UnusableTls(f"the {what} {file} cannot be read: {problem.strerror}") from problem


def _load(context: ssl.SSLContext, certfile: Path, keyfile: Path) -> None:
    def encrypted() -> str:
        raise UnusableTls(
            f"the key {keyfile} is encrypted; decrypt it first: openssl pkey -in {keyfile} -out plain-key.pem"
        )

    try:
        context.load_cert_chain(certfile, keyfile, password=encrypted)
    except ssl.SSLError as problem:
        if problem.reason == "KEY_VALUES_MISMATCH":
            raise UnusableTls(f"the key {keyfile} does not belong to the certificate {certfile}") from problem
        raise UnusableTls(f"{certfile} and {keyfile} cannot be used: {problem.reason or problem}") from problem


def _check_dates(certfile: Path, pem: str, now: datetime) -> None:
    begin, end = pem.find("-----BEGIN CERTIFICATE-----"), pem.find("-----END CERTIFICATE-----")
    if begin < 0 or end < begin:
        raise UnusableTls(f"{certfile} holds no certificate in PEM form")
    try:
        der = ssl.PEM_cert_to_DER_cert(pem[begin:end] + "-----END CERTIFICATE-----")
        starts, ends = validity(der)
    except (ValueError, IndexError) as problem:
        raise UnusableTls(f"the certificate {certfile} is damaged") from problem
    if now > ends:
        raise UnusableTls(f"the certificate {certfile} expired on {ends:%Y-%m-%d %H:%M} UTC; renew it")
    if now < starts:
        raise UnusableTls(
            f"the certificate {certfile} is valid from {starts:%Y-%m-%d %H:%M} UTC only; it is {now:%Y-%m-%d %H:%M} now"
        )


def validity(der: bytes) -> tuple[datetime, datetime]:
    """From when until when a certificate is valid (X.509, RFC 5280 section 4.1). Raises ValueError or IndexError."""
    _, at, _ = _element(der, 0)  # Certificate
    _, at, _ = _element(der, at)  # TBSCertificate
    tag, _, after = _element(der, at)
    fields = [] if tag == _VERSION else [(tag, after)]
    at = after
    while len(fields) < 3:  # serial number, signature algorithm, issuer
        tag, _, at = _element(der, at)
        fields.append((tag, at))
    tag, at, _ = _element(der, at)
    if tag != _SEQUENCE:
        raise ValueError("no validity where it belongs")
    starts, at = _time(der, at)
    ends, _ = _time(der, at)
    return starts, ends


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, where the content begins, and where the element ends."""
    tag, length, begin = der[at], der[at + 1], at + 2
    if length >= _LONG_LENGTH:
        size = length - _LONG_LENGTH
        length = int.from_bytes(der[begin : begin + size])
        begin += size
    return tag, begin, begin + length


def _time(der: bytes, at: int) -> tuple[datetime, int]:
    tag, begin, end = _element(der, at)
    text = der[begin:end].decode("ascii")
    pattern = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text, pattern).replace(tzinfo=UTC), end
