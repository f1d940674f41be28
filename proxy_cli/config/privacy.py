"""What of a config may be repeated in a message: names yes, secrets never.

Messages of this room repeat names of settings and not their values. A value can still come to stand where a name is
expected (`api_key: {sk-abc}`), so a name is looked at before it is shown.
"""

import re

HIDDEN = "<hidden>"
_LONGEST_SHOWN = 64
_SECRET_WORDS = frozenset(
    ("key", "apikey", "secret", "password", "passwd", "passphrase", "token", "credential", "credentials",
     "authorization", "cookie", "dsn")
)  # fmt: skip
_KNOWN_PREFIX = re.compile(
    r"(?:(?:sk|pk|rk|xai|glpat|xox[abp])-|(?:hf|gsk|ghp|gho|github_pat)_|(?:Bearer|Basic) |AKIA|ASIA|AIza|eyJ)"
    r"[A-Za-z0-9][-_.A-Za-z0-9]+"
)
_RUN = re.compile(r"[A-Za-z0-9+/=]{28,}")
# No key or URL is longer, and patterns on longer texts would take their time.
_LONGEST_READ = 2048
_IN_A_URL = re.compile(r"//[^/\s@]*:[^/\s]*@")
_BREAKS = re.compile(r"[\s=]+|:\s+")
_HUMPS = re.compile(r"[^A-Za-z]+|(?<=[a-z])(?=[A-Z])")


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name holds a secret: `api_key`, `aws_secret_access_key`, `x-api-key`, `DB_PASSWORD`."""
    words = [word.lower() for word in _HUMPS.split(name) if word]
    if not words or (len(words) > 1 and words[-2] in ("per", "cost")):
        return False  # input_cost_per_token
    return words[-1] in _SECRET_WORDS


def looks_secret(text: str) -> bool:
    """Whether a text has the form of a key, or is a URL that holds a password; rather once too often."""
    return is_key(text) or holds_password(text) or any(_is_dense(run) for run in _RUN.findall(text[:_LONGEST_READ]))


def is_key(text: str) -> bool:
    """Whether a text begins as the keys of a known service do: `sk-…`."""
    return _KNOWN_PREFIX.fullmatch(text[:_LONGEST_READ]) is not None


def holds_password(text: str) -> bool:
    """Whether a text is a URL with a user and a password in it."""
    return _IN_A_URL.search(text[:_LONGEST_READ]) is not None


def _is_dense(run: str) -> bool:
    """Long, with digits and letters, and not cut into words: more likely a key than a name."""
    return not run.isalpha() and not run.isdecimal()


def shown(name: str) -> str:
    """A name as it may stand in a message: on one line, not too long, and never a key."""
    name = name[:_LONGEST_READ]
    words = _BREAKS.split(name.strip())
    if any(looks_secret(word) for word in words):
        return HIDDEN
    # A line that lost its colon or its quote: "api_key hunter2" may have become one name.
    told = next((place for place, word in enumerate(words[:-1], 1) if is_secret_name(word)), None)
    if told is not None:
        name = " ".join((*words[:told], "…"))
    if len(name) > _LONGEST_SHOWN:
        name = name[: _LONGEST_SHOWN - 1] + "…"
    if name.isprintable():
        return name
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in name)
