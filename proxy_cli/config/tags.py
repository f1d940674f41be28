"""YAML tags: the few that only say what a plain value is, and words for all others. No tag ever builds an object."""

from typing import Final

from proxy_cli.config.privacy import looks_secret, shown
from proxy_cli.config.scalar import Kind, Scalar, kind_of

STANDARD: Final = "tag:yaml.org,2002:"
_TEXT: Final = ("!", f"{STANDARD}str", f"{STANDARD}timestamp")
_KINDS: Final[dict[str, Kind]] = {
    f"{STANDARD}int": "int",
    f"{STANDARD}float": "float",
    f"{STANDARD}bool": "bool",
    f"{STANDARD}null": "null",
}
_USE_A_VARIABLE: Final = 'write "os.environ/NAME" as the value to read a variable'
_CURES: Final = {
    "env": _USE_A_VARIABLE,
    "env_var": _USE_A_VARIABLE,
    "envvar": _USE_A_VARIABLE,
    "secret": _USE_A_VARIABLE,
    "vault": _USE_A_VARIABLE,
    "include": "list files under a top-level `include:` key",
}


class BadTag(Exception):
    """A tag that is not taken, with what to say of it."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure


def tagged(tag: str, text: str, *, private: bool) -> Scalar:
    """The value that a tag makes of a text; BadTag when it cannot."""
    if tag in _TEXT:
        return Scalar(text, True, "text")
    kind = _KINDS.get(tag)
    if kind is None:
        raise unknown(tag, private=private)
    found = kind_of(text)
    if found != kind and (kind, found) != ("float", "int"):
        message = f"the tag !!{tag.removeprefix(STANDARD)} does not fit the value"
        raise BadTag(message, "remove the tag, or correct the value")
    return Scalar(text, False, kind)


def unknown(tag: str, *, private: bool) -> BadTag:
    """What to say of a tag; below a private key it may be a value that begins with `!`, so it is not repeated."""
    name = tag.removeprefix(STANDARD)
    if name.startswith("python/"):
        return BadTag("Python tags are refused: a config is data", "remove the tag and write a plain value")
    cure = _CURES.get(name.lstrip("!").lower(), "remove the tag, or quote a value that begins with !")
    if private or looks_secret(name.lstrip("!")):
        return BadTag("unknown tag", cure)
    return BadTag(f"unknown tag {shown(name if name.startswith('!') else f'!!{name}')}", cure)
