"""Whether a master key may guard an address that others can reach.

On loopback anything goes. Elsewhere no key is a choice that is said once, and a key that everybody tries first, or
that is short enough to try them all, is refused, unless that was asked for. The key itself is never repeated.
"""

from dataclasses import dataclass
from typing import Final

from proxy_cli.config.address import is_loopback
from proxy_cli.secret import Secret

SHORTEST: Final = 16
_FEWEST_LETTERS: Final = 6  # different ones: sk-1111111111111111 is no key
_ROWS: Final = ("0123456789" * 4, "abcdefghijklmnopqrstuvwxyz" * 2, "0123456789abcdef" * 4)
_RANDOM: Final = "sk-$(openssl rand -hex 32)"
_PERMIT: Final = "general_settings.dangerously_permit_weak_or_unset_master_key"
# Keys of tutorials and of this project's own examples, without the usual prefix and in small letters.
_WELL_KNOWN: Final = frozenset({
    "1234", "12345", "123456", "12345678", "1234567890", "1234567890123456", "0123456789abcdef", "1234567890abcdef",
    "abcdefghijklmnop", "admin", "master", "masterkey", "master-key", "master_key", "my-master-key", "litellm",
    "litellm-master-key", "litellm_master_key", "your-master-key", "your_master_key", "your-litellm-master-key",
    "change-me", "changeme", "change-me-please", "change-this-key", "changemechangeme", "secret", "password",
    "passwordpassword", "supersecretkey", "super-secret-key", "super-secret-master-key", "my-secret-master-key",
    "test", "testing", "test-key", "test-master-key", "local-master-key", "dev-master-key", "example-master-key",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """What is wrong with a master key; `refused`: the proxy does not start with it."""

    refused: bool
    message: str
    cure: str = f'make one: export LITELLM_MASTER_KEY="{_RANDOM}"'

    @property
    def text(self) -> str:
        """The whole as one sentence."""
        return f"{self.message}; {self.cure}"


def master_key_problem(key: Secret | None, host: str, *, permitted: bool) -> KeyProblem | None:
    """What is to be said of this key on a server that listens on this host; None: nothing."""
    if is_loopback(host):
        return None
    if key is None or not key:
        if permitted:
            return None
        return KeyProblem(False, f"no master key is set: whoever reaches {host} may use every model")
    weakness = _weakness(key.reveal())
    if weakness is None:
        return None
    if permitted:
        return KeyProblem(False, f"the master key is weak ({weakness}), as {_PERMIT} permits")
    return KeyProblem(True, f"the master key is weak: {weakness}, and {host} can be reached by others")


def _weakness(key: str) -> str | None:
    bare = key.lower().removeprefix("sk-")
    if bare in _WELL_KNOWN:
        return "everybody tries this one first"
    if len(key) < SHORTEST:
        return f"it is shorter than {SHORTEST} characters"
    if any(bare in row for row in _ROWS):
        return "it counts up"
    if len(set(bare)) < _FEWEST_LETTERS:
        return "it repeats the same few characters"
    return None
