"""Secrets that the database keeps: sealed, so that whoever reads the database alone learns nothing and changes nothing.

Owns the form of a sealed text and the keys that open it. HMAC-SHA256 in counter mode makes the keystream, a second
HMAC-SHA256 over place, nonce and ciphertext proves that nobody has touched it (encrypt-then-MAC); both keys come out of
scrypt over the salt key and a salt of the database. All of it is in the standard library. The place (which row, which
field) belongs to the proof, so that a sealed text cannot be moved to another address. Rule: nothing is opened before
its proof has been checked, and a key that is not the one it was sealed with is told by a check value, before anything
is read or written.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Self

from sqlalchemy import Connection, select, update

from proxy_cli.errors import GatewayError
from proxy_cli.secret import Secret
from proxy_cli.shapes import Json
from proxy_cli.store.tables import SETTINGS
from proxy_cli.store.writing import upsert

SETTING: Final = "seal"  # the row of SETTINGS with salt and check value
_VERSION: Final = "1"
_NONCE_BYTES: Final = 16
_TAG_BYTES: Final = 32
_BLOCK_BYTES: Final = 32
# RFC 7914: 16 MB and some 50 ms, once in the life of a process.
_SCRYPT_N: Final = 2**14
_SCRYPT_R: Final = 8
_SCRYPT_MEMORY: Final = 64 * 1024 * 1024
_PROOF: Final = "llmproxy"  # what the check value holds


class SealProblem(GatewayError):
    """Sealed secrets cannot be opened, or made: a key is missing, or is another one."""

    status = 503
    kind = "configuration_error"
    code = "seal_key"


class Seal:
    """The two keys. Made of the salt key once; immutable."""

    __slots__ = ("_cipher_key", "_proof_key", "salt")

    def __init__(self, secret: Secret, salt: bytes) -> None:
        keys = _derived(secret, salt)
        self.salt = salt
        self._cipher_key, self._proof_key = keys[:32], keys[32:]

    @classmethod
    def fresh(cls, secret: Secret, random: Callable[[int], bytes] = os.urandom) -> Self:
        """A seal with a new salt."""
        return cls(secret, random(_NONCE_BYTES))

    def seal(self, text: str, place: str, random: Callable[[int], bytes] = os.urandom) -> str:
        """A text that only this seal opens, and only as that of this place."""
        nonce = random(_NONCE_BYTES)
        sealed = self._stream(nonce, text.encode("utf-8", "surrogateescape"))
        return f"{_VERSION}:{base64.b64encode(nonce + sealed + self._tag(place, nonce, sealed)).decode()}"

    def open(self, sealed: str, place: str) -> str:
        """The text again. Raises SealProblem for what was not sealed by this key, or for another place."""
        version, _, body = sealed.partition(":")
        try:
            data = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if version != _VERSION or len(data) < _NONCE_BYTES + _TAG_BYTES:
            raise _unreadable(place)
        nonce, hidden, tag = data[:_NONCE_BYTES], data[_NONCE_BYTES:-_TAG_BYTES], data[-_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(place, nonce, hidden)):
            raise _unreadable(place)
        return self._stream(nonce, hidden).decode("utf-8", "surrogateescape")

    def _stream(self, nonce: bytes, data: bytes) -> bytes:
        """Data under the keystream; the same again takes it away."""
        blocks = range(-(-len(data) // _BLOCK_BYTES))
        stream = b"".join(hmac.digest(self._cipher_key, nonce + each.to_bytes(8, "big"), "sha256") for each in blocks)
        return bytes(one ^ other for one, other in zip(data, stream, strict=False))

    def _tag(self, place: str, nonce: bytes, sealed: bytes) -> bytes:
        named = place.encode("utf-8", "surrogateescape")
        # The length before the place: no two pairs of place and ciphertext are the same bytes.
        return hmac.digest(self._proof_key, len(named).to_bytes(8, "big") + named + nonce + sealed, "sha256")


@lru_cache(maxsize=4)
def _derived(secret: Secret, salt: bytes) -> bytes:
    """Both keys. Remembered, for the making of them is slow on purpose, and a transaction may wait for it."""
    return hashlib.scrypt(
        secret.reveal().encode("utf-8", "surrogateescape"),
        salt=salt,
        n=_SCRYPT_N,
        r=_SCRYPT_R,
        p=1,
        maxmem=_SCRYPT_MEMORY,
        dklen=64,
    )


def _unreadable(place: str) -> SealProblem:
    return SealProblem(
        f"the secret of {place} in the database cannot be opened: it was changed, or sealed with another key; "
        "set it again, or give LITELLM_SALT_KEY the value it had"
    )


def seal_key(salt_key: Secret | None, master_key: Secret | None) -> Secret | None:
    """What secrets are sealed with: LITELLM_SALT_KEY, else the master key; None where there is neither."""
    return salt_key or master_key or None


def seal_of(connection: Connection, secret: Secret | None) -> Seal:
    """The seal of this database; the first one that asks makes it. Raises SealProblem for another key than its own."""
    if secret is None:
        raise SealProblem("secrets cannot be kept in the database: set LITELLM_SALT_KEY, or a master_key")
    kept = connection.scalar(select(SETTINGS.c.value).where(SETTINGS.c.name == SETTING))
    if kept is None:
        # Another process may be first: whose row is kept, that seal holds.
        fresh = upsert(SETTINGS).values(name=SETTING, value=_kept(Seal.fresh(secret)))
        connection.execute(fresh.on_conflict_do_nothing(index_elements=["name"]))
        kept = connection.scalar(select(SETTINGS.c.value).where(SETTINGS.c.name == SETTING))
    return checked(secret, kept)


def known_seal(connection: Connection, secret: Secret | None) -> Seal | None:
    """The seal of this database, None where nothing was ever sealed in it. Raises SealProblem as `seal_of`."""
    kept = connection.scalar(select(SETTINGS.c.value).where(SETTINGS.c.name == SETTING))
    if kept is None:
        return None
    if secret is None:
        raise SealProblem(
            "the database holds sealed secrets, and there is no key to open them: set LITELLM_SALT_KEY, or the "
            "master_key they were sealed with"
        )
    return checked(secret, kept)


def checked(secret: Secret, kept: Json) -> Seal:
    """The seal of a salt and check value, if this is its key. Raises SealProblem with the cure."""
    try:
        seal = Seal(secret, base64.b64decode(kept["salt"], validate=True))
        found = seal.open(kept["check"], SETTING)
    except (SealProblem, KeyError, TypeError, ValueError):
        found = None
    if found != _PROOF:
        raise SealProblem(
            "the secrets in the database were sealed with another key: set LITELLM_SALT_KEY to the key they were "
            "sealed with (without one, that was the master key), or seal them anew: llmproxy db rotate --from-key"
        )
    return seal


def keep(connection: Connection, seal: Seal) -> None:
    """Let this be the database's seal from now on."""
    connection.execute(update(SETTINGS).where(SETTINGS.c.name == SETTING).values(value=_kept(seal)))


def _kept(seal: Seal) -> Json:
    return {"salt": base64.b64encode(seal.salt).decode(), "check": seal.seal(_PROOF, SETTING)}
