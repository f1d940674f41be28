"""The kinds of value a setting may hold, each read from the text that stands in the file.

The text decides, not what YAML 1.1 makes of it: `4.1` as a name is the text "4.1", `no` is never silently a name,
`1:30` never silently 90. A reader returns the value or raises with a message and a cure; what is only odd it
remarks on. No secret is ever part of a message. Plain Python values are read too, so that a configuration can be
made without a file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from proxy_cli.config.address import parse_base, parse_proxy
from proxy_cli.config.bind import parse_bind
from proxy_cli.config.privacy import shown
from proxy_cli.config.problem import did_you_mean
from proxy_cli.config.reading import BeforeValidator, PlainValidator, ValidationInfo, WithJsonSchema, Wrong
from proxy_cli.config.scalar import Scalar, number, whole
from proxy_cli.secret import Secret
from proxy_cli.shapes import Json, Proxy

_TRUE: Final = frozenset({"true", "yes", "on", "y"})
_FALSE: Final = frozenset({"false", "no", "off", "n"})
_ENDPOINT = re.compile(r"(/chat/completions|/completions|/embeddings|/responses|/models|(?<=/v1)/v1)$")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|sec|secs|seconds?|m|min|mins|minutes?|h|hours?)", re.IGNORECASE)
_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_BLANKS: Final = " \t\r\n\v\f\u00a0\u200b\u2060\u3000\ufeff"


class Remarks:
    """What the readers found odd, by the very scalar it was found on: a reader does not know its path."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[Scalar, str, str]] = {}

    def add(self, scalar: Scalar, message: str, cure: str) -> None:
        """Remember one remark; the scalar is kept alive, so its id stays its own."""
        self.found[id(scalar)] = (scalar, message, cure)


def wrong(message: str, cure: str = "") -> Wrong:
    """The error a reader raises: one sentence, and what to do."""
    return Wrong(message, cure)


def described(value: object) -> str:
    """What kind of thing a value is, in the words of a message."""
    match value:
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case Scalar(kind="null"):
            return "nothing (null)"
        case Scalar(kind="bool", text=text):
            return f"a boolean ({text})"
        case Scalar(kind="int" | "float", text=text):
            return f"a number ({text})"
        case _:
            return "a string"


def leaf(value: object, wanted: str) -> Scalar:
    """The value as one scalar of the file; raises where it is a list or a mapping."""
    match value:
        case Scalar():
            return value
        case bool():
            return Scalar(text=str(value).lower(), quoted=False, kind="bool")
        case int():
            return Scalar(text=str(value), quoted=False, kind="int")
        case float():
            return Scalar(text=repr(value), quoted=False, kind="float")
        case str():
            return Scalar(text=value, quoted=True, kind="text")
        case None:
            return Scalar(text="", quoted=False, kind="null")
    raise wrong(f"expected {wanted}, got {described(value)}", "write one value here")


def read_text(value: object, info: ValidationInfo) -> str:
    """A text as it stands in the file, also where YAML sees a number or a date in it."""
    scalar = leaf(value, "a text")
    if scalar.kind == "bool":
        raise wrong(f"expected a text, got a boolean ({scalar.text})", f'quote it: "{scalar.text}"')
    if scalar.kind == "null":
        raise wrong("expected a text, got nothing (null)", "write the text, or take the line out")
    if scalar.kind in ("int", "float") and not scalar.quoted:
        message = f"YAML may read {scalar.text} as a number; it is taken as the text that is written"
        _remark(info, scalar, message, f'quote it: "{scalar.text}"')
    return scalar.text


def read_duration(value: object) -> str:
    """A number and a unit, as `30d`."""
    scalar = leaf(value, "a duration")
    if _WRITTEN_DURATION.fullmatch(scalar.text.lower()) is None:
        raise wrong(f"'{shown(scalar.text)}' is no duration", "write a number and one of s, m, h, d, w, mo, as 30d")
    return scalar.text


def read_exported(value: object, info: ValidationInfo) -> str:
    """The text of a variable: numbers are what is written, booleans what Python calls them, as LiteLLM exports them."""
    scalar = leaf(value, "a text")
    if scalar.kind == "bool":
        _remark(info, scalar, f"is set to the text {exported(scalar)}", f'quote it as you mean it: "{scalar.text}"')
    if scalar.kind == "null":
        raise wrong("expected a text, got nothing (null)", "write the text, or take the line out")
    return exported(scalar)


def exported(scalar: Scalar) -> str:
    """What a variable is set to by a value of the file."""
    return str(scalar.plain()) if scalar.kind == "bool" else scalar.text


def read_name(value: object, info: ValidationInfo) -> str:
    """A text that is not empty."""
    text = read_text(value, info)
    if not text.strip(_BLANKS):
        raise wrong("is empty", "write a name")
    return text


def read_network(value: object, info: ValidationInfo) -> str:
    """An address, or a network of addresses."""
    text = read_name(value, info).strip()
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise wrong(f"{text!r} is no address and no network", "write it as 10.0.0.7 or 10.0.0.0/8") from None
    return text


def read_bind(value: object, info: ValidationInfo) -> str:
    """An address to listen on."""
    text = read_name(value, info).strip()
    try:
        parse_bind(text)
    except ValueError as problem:
        message, _, cure = str(problem).partition("; ")
        raise wrong(message, cure) from None
    return text


def read_time_zone(value: object, info: ValidationInfo) -> str:
    """The name of a time zone."""
    text = read_name(value, info).strip()
    try:
        ZoneInfo(text)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise wrong(f"no time zone is called {text!r}", "write it as Europe/Berlin, or UTC") from None
    return text


def read_secret(value: object, info: ValidationInfo, what: str = "key") -> Secret:
    """A key or password: one line that may stand in a header; blanks and quotes around it are cut off."""
    scalar = leaf(value, f"a {what}")
    if scalar.kind == "bool":
        raise wrong(f"expected a {what}, got a boolean ({scalar.text})", "quote it")
    if scalar.kind == "null":
        raise wrong(f"expected a {what}, got nothing (null)", f"write the {what}, or take the line out")
    text, trimmed = trim(scalar.text)
    if not text:
        raise wrong("is empty", f"write the {what}, name a variable (os.environ/NAME), or take the line out")
    if not text.isprintable() and any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in text):
        raise wrong("has a line break or another control character inside", f"write the {what} on one line")
    if trimmed:
        _remark(info, scalar, f"blanks or quotes around the {what} were cut off", f"write the {what} without them")
    return Secret(text)


def read_header(value: object, info: ValidationInfo) -> Secret:
    """The value of a header, which may be a secret."""
    return read_secret(value, info, "header value")


def read_key(value: object, info: ValidationInfo) -> Secret:
    """A key as it is sent: a header carries ASCII, and a curly quote or full-width letter is a slip of copying."""
    secret = read_secret(value, info)
    text = secret.reveal()
    if text.isascii():
        if isinstance(value, Scalar) and " " in text:
            _remark(info, value, *_BLANK_IN_KEY[text.lower().startswith("bearer ")])
        return secret
    odd = next(letter for letter in text if not letter.isascii())
    raise wrong(f"holds a character that no key has (U+{ord(odd):04X})", "copy the key anew")


_BLANK_IN_KEY: Final = {
    True: ('begins with "Bearer", which is put before it anyway', "write the key alone"),
    False: ("has a blank inside", "copy the key anew"),
}


def read_base(value: object, info: ValidationInfo) -> str:
    """The base address of a backend; one that ends in an endpoint is remarked on."""
    scalar = leaf(value, "an address")
    if scalar.kind in ("bool", "null"):
        raise wrong(f"expected an address, got {described(scalar)}", "write one such as http://localhost:8000/v1")
    try:
        backend, path = parse_base(scalar.text)
    except ValueError as problem:
        message, _, cure = str(problem).partition("; ")
        raise wrong(message, cure or "write one such as http://localhost:8000/v1") from None
    if _ENDPOINT.search(path):
        message = f"ends in an endpoint's own path: a chat is sent to {backend}{path}/chat/completions"
        _remark(info, scalar, message, f"end it as {backend}{_ENDPOINT.sub('', path)}")
    return scalar.text


_DATABASE: Final = "postgresql://user:password@host:5432/name"


def read_database_url(value: object, info: ValidationInfo) -> Secret:
    """PostgreSQL's address, or SQLite's file; an address holds a password, so it is never shown."""
    secret = read_secret(value, info)
    scheme, separator, rest = secret.reveal().partition("://")
    if scheme == "sqlite" or (not separator and secret.reveal().startswith(("/", "./", "../", "~/"))):
        return secret
    if not separator or scheme not in ("postgresql", "postgres"):
        raise wrong(
            "the scheme must be postgresql:// or sqlite:///, got another or none",
            f"write it as {_DATABASE}, sqlite:///path/to/file.db, or a path that begins with / or ./",
        )
    authority = rest.partition("/")[0]
    if authority.count("@") > 1:
        raise wrong("the password holds an @", "write %40 instead")
    if not authority.rpartition("@")[2].partition(":")[0] and "host=" not in rest:
        raise wrong("has no host", f"write it as {_DATABASE}")
    return secret


def read_verify(value: object, info: ValidationInfo) -> bool | str:
    """True, false, or the path of a CA bundle."""
    try:
        return read_flag(value)
    except Wrong:
        return read_name(value, info)


NO_PROXY: Final = "none"


def read_proxy(value: object) -> Proxy | str:
    """The address of an HTTP proxy, or `none`."""
    scalar = leaf(value, "the address of an HTTP proxy")
    if scalar.kind in ("bool", "null"):
        raise wrong(
            f"expected the address of an HTTP proxy, got {described(scalar)}", "write one such as http://host:3128"
        )
    if scalar.text.strip().lower() == NO_PROXY:
        return NO_PROXY
    try:
        return parse_proxy(trim(scalar.text)[0])
    except ValueError as problem:
        message, _, cure = str(problem).partition("; ")
        raise wrong(message, cure or "write one such as http://host:3128") from None


def trim(text: str) -> tuple[str, bool]:
    """The text without the blanks, line ends and one pair of quotes around it; and whether there were any."""
    bare = text.strip(_BLANKS)
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'":
        bare = bare[1:-1].strip(_BLANKS)
    return bare, bare != text


def read_flag(value: object) -> bool:
    """True or false; as a text only the words themselves, and 1 or 0 from a variable."""
    scalar = leaf(value, "true or false")
    word = scalar.text.strip().lower()
    numbers = {"1": True, "0": False} if scalar.replaced else {}
    if scalar.kind in ("bool", "text") or word in numbers:
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        if word in numbers:
            return numbers[word]
    meant = {"1": "write true", "0": "write false"}.get(word, "write true or false, without quotes")
    raise wrong(f"expected true or false, got '{shown(scalar.text)}'", meant)


@dataclass(frozen=True, slots=True)
class Number:
    """Reads a number by the strict grammar, in a range."""

    what: str
    above: float | None = None
    least: float | None = None
    most: float | None = None
    integer: bool = False

    def __call__(self, value: object) -> float | int:
        scalar = leaf(value, self.what)
        text = scalar.text.strip()
        if scalar.kind in ("bool", "null"):
            raise wrong(f"expected {self.what}, got {described(scalar)}", "write plain digits")
        try:
            amount = whole(text) if self.integer else number(text)
        except ValueError as problem:
            message = f"expected {self.what}, got '{shown(scalar.text)}': {problem}"
            raise wrong(message, self._digits(text)) from None
        self._check(amount, text)
        return amount

    def _digits(self, text: str) -> str:
        """What to write instead: a duration with a unit is told in seconds."""
        duration = _DURATION.fullmatch(text) if "seconds" in self.what else None
        if duration is None:
            return "write plain digits"
        unit = duration[2].lower()
        return f"write {float(duration[1]) * _UNITS[unit if unit == 'ms' else unit[0]]:g}"

    def _check(self, amount: float, text: str) -> None:
        if self.above is not None and amount <= self.above:
            raise wrong(f"must be above {self.above:g}, got {text}", f"write {self.what}")
        if self.least is not None and amount < self.least:
            raise wrong(f"must be at least {self.least:g}, got {text}", f"write {self.what}")
        if self.most is not None and amount > self.most:
            raise wrong(f"must be at most {self.most:g}, got {text}", f"write {self.what}")

    def schema(self) -> dict[str, Json]:
        """The JSON Schema of such a value: a number, or the name of a variable."""
        bounds = {"exclusiveMinimum": self.above, "minimum": self.least, "maximum": self.most}
        kind = "integer" if self.integer else "number"
        given = {name: bound for name, bound in bounds.items() if bound is not None}
        return {"anyOf": [{"type": kind, **given}, {"type": "string"}]}


def read_anything(value: object) -> Json:
    """Any JSON value, as it is sent on; only numbers that JSON cannot hold, or nobody means, are refused."""
    match value:
        case Mapping():
            return {str(key): read_anything(inner) for key, inner in value.items()}
        case list() | tuple():
            return [read_anything(inner) for inner in value]
        case Scalar():
            return _plain_value(value)
        case _:
            return value


def _plain_value(scalar: Scalar) -> Json:
    value = scalar.plain()
    if scalar.kind == "float" and isinstance(value, str):
        raise wrong(f"not a finite number: {value}", "write a number, or quote it if it is a text")
    return value


def read_price(value: object) -> Json:
    """A price in USD; or a table of prices, as the price list has for some."""
    if isinstance(value, Mapping):
        return {str(key): read_price(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [read_price(inner) if isinstance(inner, Mapping) else read_anything(inner) for inner in value]
    return PRICE(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """Reads one of a few words."""

    words: tuple[str, ...]

    def __call__(self, value: object) -> str:
        scalar = leaf(value, f"one of {', '.join(self.words)}")
        if scalar.text in self.words:
            return scalar.text
        near = did_you_mean(scalar.text, self.words)
        cure = f"did you mean {near!r}? valid: " if near else "valid: "
        raise wrong(f"no such value: '{shown(scalar.text)}'", cure + ", ".join(self.words))


def one_or_many(value: object) -> object:
    """A lone value where a list of them is usual stands for a list of one."""
    return value if isinstance(value, list | tuple | Mapping) else [value]


def _remark(info: ValidationInfo, scalar: Scalar, message: str, cure: str) -> None:
    if isinstance(info.context, Remarks):
        info.context.add(scalar, message, cure)


_WRITTEN_DURATION: Final = re.compile(r"[1-9][0-9]{0,8}(mo|[smhdw])")
_TEXT_SCHEMA: Final[dict[str, Json]] = {"type": ["string", "number"]}
_NUMBER = Number("a number")
PRICE: Final = Number("a price in USD, 0 or more", least=0)
_SECONDS = Number("a number of seconds above 0", above=0)
_PAUSE = Number("a number of seconds, 0 or more", least=0)
_USD = Number("an amount in USD above 0", above=0)
_AMOUNT = Number("a number above 0", above=0)
_SHARE = Number("a number, 0 or more", least=0)
_COUNT = Number("a whole number above 0", above=0, integer=True)
_TALLY = Number("a whole number, 0 or more", least=0, integer=True)
_WHOLE = Number("a whole number", integer=True)
_STATUS = Number("an HTTP status from 400 to 599", least=400, most=599, integer=True)
_PERCENT = Number("a number from 0 to 1", least=0, most=1)

_PRICE_SCHEMA: Final[dict[str, Json]] = {"anyOf": [*PRICE.schema()["anyOf"], {"type": ["object", "array"]}]}
_NAMES_SCHEMA: Final[dict[str, Json]] = {"type": ["string", "array"], "items": {"type": "string"}}

Text = Annotated[str, PlainValidator(read_text), WithJsonSchema(_TEXT_SCHEMA)]
Duration = Annotated[str, PlainValidator(read_duration), WithJsonSchema({"type": "string"})]
Exported = Annotated[str, PlainValidator(read_exported), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Name = Annotated[str, PlainValidator(read_name), WithJsonSchema({**_TEXT_SCHEMA, "minLength": 1})]
Key = Annotated[Secret, PlainValidator(read_key), WithJsonSchema({"type": "string", "minLength": 1})]
Header = Annotated[Secret, PlainValidator(read_header), WithJsonSchema(_TEXT_SCHEMA)]
Base = Annotated[str, PlainValidator(read_base), WithJsonSchema({"type": "string", "minLength": 1})]
DatabaseUrl = Annotated[Secret, PlainValidator(read_database_url), WithJsonSchema({"type": "string"})]
Verify = Annotated[bool | str, PlainValidator(read_verify), WithJsonSchema({"type": ["boolean", "string"]})]
HttpProxy = Annotated[Proxy | str, PlainValidator(read_proxy), WithJsonSchema({"type": "string", "minLength": 1})]
Flag = Annotated[bool, PlainValidator(read_flag), WithJsonSchema({"type": ["boolean", "string"]})]
Float = Annotated[float, PlainValidator(_NUMBER), WithJsonSchema(_NUMBER.schema())]
Price = Annotated[Json, PlainValidator(read_price), WithJsonSchema(_PRICE_SCHEMA)]
Seconds = Annotated[float, PlainValidator(_SECONDS), WithJsonSchema(_SECONDS.schema())]
Pause = Annotated[float, PlainValidator(_PAUSE), WithJsonSchema(_PAUSE.schema())]
Usd = Annotated[float, PlainValidator(_USD), WithJsonSchema(_USD.schema())]
Amount = Annotated[float, PlainValidator(_AMOUNT), WithJsonSchema(_AMOUNT.schema())]
Share = Annotated[float, PlainValidator(_SHARE), WithJsonSchema(_SHARE.schema())]
Fraction = Annotated[float, PlainValidator(_PERCENT), WithJsonSchema(_PERCENT.schema())]
Count = Annotated[int, PlainValidator(_COUNT), WithJsonSchema(_COUNT.schema())]
Tally = Annotated[int, PlainValidator(_TALLY), WithJsonSchema(_TALLY.schema())]
Whole = Annotated[int, PlainValidator(_WHOLE), WithJsonSchema(_WHOLE.schema())]
Status = Annotated[int, PlainValidator(_STATUS), WithJsonSchema(_STATUS.schema())]
Anything = Annotated[Json, PlainValidator(read_anything), WithJsonSchema({})]
Names = tuple[Name, ...]
Network = Annotated[str, PlainValidator(read_network), WithJsonSchema({**_TEXT_SCHEMA, "minLength": 1})]
Networks = tuple[Network, ...]
Bind = Annotated[str, PlainValidator(read_bind), WithJsonSchema({**_TEXT_SCHEMA, "minLength": 1})]
TimeZone = Annotated[str, PlainValidator(read_time_zone), WithJsonSchema({**_TEXT_SCHEMA, "minLength": 1})]
NameOrNames = Annotated[tuple[Name, ...], BeforeValidator(one_or_many), WithJsonSchema(_NAMES_SCHEMA)]
JsonMap = dict[str, Anything]
HeaderMap = dict[str, Header]
