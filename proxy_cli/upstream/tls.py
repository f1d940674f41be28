"""How backends prove who they are, and we to them: settings become TLS contexts.

Owns one context for each kind of settings, made when the first connection needs it: the system's certificates alone
take milliseconds and a megabyte. A context whose files have changed since is made anew, so that a renewed certificate
needs no restart; while the new files are no use, the last good context serves.
"""

import logging
import os
import ssl
from pathlib import Path
from typing import Final

from proxy_cli.shapes import Tls

logger = logging.getLogger(__name__)

_Stamp = tuple[int, ...]  # when each file was changed, in ns


class UnusableTls(ValueError):
    """TLS settings that cannot be used: the sentence is `what is wrong; what to do`, without the setting's name."""

    def __init__(self, setting: str, sentence: str) -> None:
        super().__init__(sentence)
        self.setting = setting  # ssl_verify, ssl_certificate or ssl_keyfile


class Contexts:
    """The TLS contexts in use. Owns them, and the times of the files that each was made of."""

    def __init__(self) -> None:
        self._made: dict[Tls, tuple[_Stamp, ssl.SSLContext]] = {}

    def context(self, tls: Tls) -> ssl.SSLContext:
        """The context for these settings. Raises UnusableTls where there has never been a good one."""
        stamp = _stamp(tls)
        former = self._made.get(tls)
        if former is not None and former[0] == stamp:
            return former[1]
        try:
            context = tls_context(tls)
        except UnusableTls as error:
            if former is None:
                raise
            logger.warning("%s of backends is used as it was before: %s", error.setting, error)
            context = former[1]
        self._made[tls] = (stamp, context)
        return context


def tls_context(tls: Tls) -> ssl.SSLContext:
    """A context by these settings. Raises UnusableTls for a file that is no use."""
    # A file of CAs stands in place of the system's: who names one trusts that one.
    context = ssl.create_default_context() if tls.verify is True else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if tls.verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif isinstance(tls.verify, str):
        _trust(context, tls.verify)
    if tls.certificate is not None:
        _show(context, tls.certificate, tls.keyfile)
    return context


def _trust(context: ssl.SSLContext, name: str) -> None:
    path = Path(name)
    try:
        if path.is_dir():
            context.load_verify_locations(capath=name)
        else:
            context.load_verify_locations(cafile=name)
    except OSError as error:
        raise UnusableTls("ssl_verify", f"cannot read CA certificates from {name!r}: {_why(error)}") from error


def _show(context: ssl.SSLContext, certificate: str, keyfile: str | None) -> None:
    for setting, name in (("ssl_certificate", certificate), ("ssl_keyfile", keyfile)):
        try:
            if name is not None:
                Path(name).read_bytes()
        except OSError as error:
            raise UnusableTls(setting, f"cannot read {name!r}: {_why(error)}") from error
    try:
        context.load_cert_chain(certificate, keyfile, _no_password)
    except OSError as error:
        setting = "ssl_keyfile" if keyfile else "ssl_certificate"
        named = f"{certificate!r} with the key {keyfile!r}" if keyfile else repr(certificate)
        raise UnusableTls(setting, f"{named} cannot be used: {_why(error)}") from error


def _no_password() -> str:
    # Without an answer of ours OpenSSL would ask on the terminal, and wait.
    raise PermissionError("the key is encrypted; store it without a passphrase")


_NO_CERTIFICATE: Final = "it holds no certificate; name a file in PEM form (-----BEGIN CERTIFICATE-----)"
_REASONS: Final = {
    "": "it is no certificate with its key in PEM form; name the files of both",  # all that OpenSSL says of either
    "KEY_VALUES_MISMATCH": "certificate and key do not belong together; name the files of one pair",
    "NO_CERTIFICATE_OR_CRL_FOUND": _NO_CERTIFICATE,
    "NO_START_LINE": _NO_CERTIFICATE,
}


def _why(error: OSError) -> str:
    """What is wrong with a file, and what to do about it."""
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        return _REASONS.get(reason, f"it is not in PEM form ({reason.replace('_', ' ').lower()}); name another file")
    return f"{os.strerror(error.errno).lower()}; name a file that is there" if error.errno else str(error)


def _stamp(tls: Tls) -> _Stamp:
    names = (tls.verify if isinstance(tls.verify, str) else None, tls.certificate, tls.keyfile)
    return tuple(_changed_ns(name) for name in names if name is not None)


def _changed_ns(name: str) -> int:
    try:
        return Path(name).stat().st_mtime_ns
    except OSError:
        return 0
