"""What libyaml could not read, in plain words: where the slip is, rather than where the reader gave up.

libyaml names states of its parser ("did not find expected key"). Each is a row of the table here, and looks at the
line to tell the usual slips apart.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import yaml

from proxy_cli.config.compose import Composed, Span
from proxy_cli.config.foreign import marks
from proxy_cli.config.lookalike import in_line
from proxy_cli.config.text import Text, code_point
from proxy_cli.config.tree import Spot

_QUOTE_COLON: Final = "quote values that contain ': '"
_TAB: Final = "tab character"
_INDENT: Final = "line it up with spaces with the settings it belongs to"
_BEGINS_WITH_KEY: Final = re.compile(r"\s*(?:- +)*[^\s:#'\"]+:(?:\s|$)")
_NO_SPACE: Final = re.compile(r"\s*(?:- +)*[A-Za-z_][A-Za-z0-9_]*:[^\s]")

_NAME_ALONE: Final = re.compile(r"\s*(?:- +)*[A-Za-z_][\w-]*\s*")
_SECTION: Final = re.compile("(?<![^\r\n\x85\u2028\u2029])[A-Za-z_\"'][\\w.-]*[\"']?[ \t]*:(?:\\s|$)")
_TABBED: Final = re.compile(r" *\t[ \t]*(?:- |[\w\"'][^:]*:(?:\s|$))")
_KEY_AHEAD: Final = re.compile(r"\s*([\"'])?[\w.-]+(?(1)\1)\s*:")
_LINES_LOOKED_AT: Final = 10
_TABS_TOLD: Final = 100


class _Mark(Protocol):
    """What both of PyYAML's parsers call a place."""

    line: int
    column: int


class Slip(NamedTuple):
    """Where it went wrong, what is wrong there, and how to cure it."""

    spot: Spot
    message: str
    cure: str


@dataclass(frozen=True, slots=True)
class Scene:
    """The failure and what surrounds it."""

    text: Text
    spot: Spot  # where libyaml gave up
    context: Spot  # where the thing began that it was reading
    quote: tuple[Spot, Spot] | None  # begin and end of the quoted text just before
    value_line: int | None  # where the plain value just before begins

    @property
    def line(self) -> str:
        """The line where libyaml gave up."""
        return self.text.line(self.spot[0])

    @property
    def letter(self) -> str:
        """The character where libyaml gave up, or nothing at the end of a line."""
        return self.line[self.spot[1] - 1 : self.spot[1]]


def slips_of(composed: Composed, text: Text) -> list[Slip]:
    """Why a composition failed, in plain words that never repeat a value; characters that mislead come first."""
    scene = _scene(composed, text)
    first = max(min(scene.context[0], scene.value_line or scene.spot[0]), scene.spot[0] - _LINES_LOOKED_AT)
    odd = [
        Slip(
            (number, found.offset + 1),
            f"{code_point(found.letter, (number, found.offset + 1))} {found.what}",
            found.cure,
        )
        for number in range(first, scene.spot[0] + 1)
        for found in in_line(text.line(number))
    ]
    odd = odd or [Slip(*mark) for mark in marks(text, first, scene.spot[0])]
    slip = _explain(composed, scene)
    return odd or [slip, *(_more_tabs(slip, text) if slip.message == _TAB else ())]


def next_section(text: Text, after: int) -> int | None:
    """The line of the next key at the left margin, where reading can be taken up again after a slip."""
    if after >= len(text.starts):
        return None
    section = _SECTION.search(text.whole, text.starts[after])
    return text.spot(section.start())[0] if section is not None else None


def _more_tabs(slip: Slip, text: Text) -> Iterator[Slip]:
    """Who indents with tabs does so on many lines; they are told up to the next section."""
    for number in range(slip.spot[0] + 1, slip.spot[0] + _TABS_TOLD):
        line = text.line(number)
        if _SECTION.match(line):
            return
        if _TABBED.match(line):
            yield Slip((number, line.index("\t") + 1), slip.message, slip.cure)


def _explain(composed: Composed, scene: Scene) -> Slip:
    failure = composed.failure
    problem = str(failure.problem) if failure is not None else ""
    for words, tell in _TABLE:
        if words in problem:
            return tell(scene)
    return Slip(scene.spot, f"this is not YAML: {problem}", "check the indentation, quotes and brackets here")


def _scene(composed: Composed, text: Text) -> Scene:
    failure = composed.failure
    spot = _spot(failure.problem_mark) if failure is not None else (1, 1)
    context = _spot(failure.context_mark) if failure is not None and failure.context_mark is not None else spot
    last = composed.last
    plain = isinstance(last, yaml.ScalarEvent) and not last.style
    return Scene(
        text=text,
        spot=spot,
        context=context,
        quote=_quote_before(composed.spans[-1], text, spot) if composed.spans else None,
        value_line=_spot(last.start_mark)[0] if plain and last is not None else None,
    )


def _spot(mark: _Mark | None) -> Spot:
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _quote_before(span: Span, text: Text, spot: Spot) -> tuple[Spot, Spot] | None:
    """The quoted text that ends on the line of the failure: it is the likely culprit."""
    begin, end = text.spot(span.start), text.spot(span.end)
    return (begin, end) if span.is_quote and end[0] == spot[0] and end <= spot else None


def _second_colon(scene: Scene) -> Slip:
    if not _BEGINS_WITH_KEY.fullmatch(scene.line[: scene.spot[1]]):
        return Slip(scene.spot, "a second colon in one line: a value cannot hold ': '", _QUOTE_COLON)
    indent = len(scene.line) - len(scene.line.lstrip())
    spot = (scene.spot[0], indent + 1)
    if scene.value_line is None or scene.value_line >= scene.spot[0]:
        return Slip(spot, "no setting can begin here", f"{_INDENT}; {_QUOTE_COLON}")
    if (slip := _nameless(scene.text, scene.value_line)) is not None:
        return slip
    above = f"the value that begins on line {scene.value_line} goes on to here, so no setting can begin"
    return Slip(spot, above, f"{_INDENT}; {_QUOTE_COLON}")


def _nameless(text: Text, number: int) -> Slip | None:
    """A line that was meant as `name: value` and became a value that runs into the next line."""
    line = text.line(number)
    spot = (number, len(line) - len(line.lstrip(" -")) + 1)
    if _NO_SPACE.match(line):
        return Slip(spot, "there is no space after the colon", "write it as name: value")
    if _NAME_ALONE.fullmatch(line):
        return Slip(spot, "a name without a colon", "write it as name: value")
    return None


def _no_colon(scene: Scene) -> Slip:
    if _NO_SPACE.match(scene.text.line(scene.context[0])):
        return Slip(scene.context, "there is no space after the colon", "write it as name: value")
    cure = "write it as name: value, or indent it if it continues the value above"
    return Slip(scene.context, "a name without a colon", cure)


def _no_key(scene: Scene) -> Slip:
    if scene.quote is not None:
        return _after_quote(scene, *scene.quote)
    if scene.letter in tuple("]},"):
        return Slip(scene.spot, f'"{scene.letter}" without an opening bracket', "remove it, or quote the value")
    if scene.letter == ":":
        return Slip(scene.spot, "a key is missing before the colon", "write the name of the setting")
    if scene.line[: scene.spot[1] - 1].strip():
        return Slip(scene.spot, "something follows a value that has ended", "quote the whole value")
    if scene.letter == "-":
        message = f"a list entry among the settings that begin on line {scene.context[0]}"
        return Slip(scene.spot, message, "indent it below the setting it belongs to")
    message = f"the indentation fits no line above; the block around it begins at {_at(scene.context)}"
    return Slip(scene.spot, message, _INDENT)


def _after_quote(scene: Scene, begin: Spot, end: Spot) -> Slip:
    if begin[0] < end[0]:
        message = f"the quote that opens here is closed on line {end[0]} only"
        return Slip(begin, message, "close it on this line; a quote inside quotes is doubled or of the other kind")
    cure = "quote the whole value; a quote inside quotes is doubled or of the other kind"
    return Slip(scene.spot, "something follows the closing quote", cure)


def _no_dash(scene: Scene) -> Slip:
    if scene.quote is not None:
        return _after_quote(scene, *scene.quote)
    if scene.line[: scene.spot[1] - 1].strip():
        return Slip(scene.spot, "something follows a value that has ended", "quote the whole value")
    message = f"this line stands among the list entries that begin at {_at(scene.context)} without a dash"
    return Slip(scene.spot, message, 'begin it with "- ", or line it up with spaces with what it belongs to')


def _bracket(scene: Scene) -> Slip:
    if scene.quote is not None:
        return _after_quote(scene, *scene.quote)
    opening = scene.text.line(scene.context[0])[scene.context[1] - 1 : scene.context[1]]
    closing = {"[": "]", "{": "}"}.get(opening, "bracket")
    if scene.context[0] < scene.spot[0] and _goes_on(scene):
        # A key on a line of its own: what is missing is at the end of the line before.
        before = scene.text.line(scene.spot[0] - 1).rstrip()
        if before and before[-1] not in "{[,:" and "#" not in before:
            return Slip((scene.spot[0] - 1, len(before) + 1), "a comma is missing here", "add it")
    if scene.context[0] < scene.spot[0]:
        message = f'the "{opening}" that opens here is not closed before line {scene.spot[0]}'
        return Slip(scene.context, message, f'close it with "{closing}", and put commas between the entries')
    return Slip(scene.spot, f'a comma or "{closing}" is missing here', "add it, or quote the value")


def _goes_on(scene: Scene) -> bool:
    """Whether the line is another key of the same brackets: quoted as in JSON, or indented further than they are."""
    above, line = scene.text.line(scene.context[0]), scene.line
    key = _KEY_AHEAD.match(line)
    return key is not None and (key[1] is not None or _indent_of(line) > _indent_of(above))


def _indent_of(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _no_content(scene: Scene) -> Slip:
    if scene.letter in tuple("]},"):
        return Slip(scene.spot, f'a value is missing before "{scene.letter}"', "write the value, or remove it")
    if scene.letter == "-":
        return Slip(scene.spot, 'no "- " entries inside brackets', "separate the entries by commas")
    return Slip(scene.spot, "a value is missing here", "write the value")


def _bad_start(scene: Scene) -> Slip:
    tab = scene.line.find("\t")
    if scene.letter == "\t" or (tab >= 0 and not scene.line[:tab].strip()):
        return _tab(scene)
    if scene.letter in tuple("@`%"):
        return Slip(scene.spot, f'no value begins with "{scene.letter}"', "quote it")
    return Slip(scene.spot, "no value can begin like this", "quote it")


def _tab(scene: Scene) -> Slip:
    return Slip((scene.spot[0], max(scene.line.find("\t"), 0) + 1), _TAB, "use spaces")


def _bare_sign(scene: Scene) -> Slip:
    sign = scene.text.line(scene.context[0])[scene.context[1] - 1 : scene.context[1]]
    if sign == "&":
        return Slip(scene.context, 'a bare "&"', "quote a value that begins with &, or name the anchor")
    return Slip(scene.context, 'a bare "*" is the sign of an alias', 'quote the wildcard: "*"')


def _list_in_line(scene: Scene) -> Slip:
    cure = 'put "- " on a line of its own below the key, or quote the value'
    return Slip(scene.spot, "a list entry cannot begin here", cure)


def _key_in_line(scene: Scene) -> Slip:
    return Slip(scene.spot, "a key cannot begin here", f"{_INDENT}, or quote the value")


def _open_quote(scene: Scene) -> Slip:
    return Slip(scene.context, "the quote that opens here is never closed", "close it")


def _escape(scene: Scene) -> Slip:
    return Slip(scene.spot, "unknown escape after a backslash", "use single quotes, or double the backslash")


def _block(scene: Scene) -> Slip:
    return Slip(scene.spot, "text on the line of | or >", "begin it on the next line, or quote the value")


def _tag(scene: Scene) -> Slip:
    return Slip(scene.context, "unknown tag", "quote a value that begins with !")


def _directive(scene: Scene) -> Slip:
    return Slip(scene.context, "a line that begins with % is not supported here", "remove it, or quote the value")


def _outside(scene: Scene) -> Slip:
    if scene.quote is not None:
        return _after_quote(scene, *scene.quote)
    return Slip(scene.spot, "this stands after the end of the settings", f"remove it, or {_INDENT}")


def _at(spot: Spot) -> str:
    return f"{spot[0]}:{spot[1]}"


# A piece of libyaml's wording, and who tells it; the first that fits.
_TABLE: Final[tuple[tuple[str, Callable[[Scene], Slip]], ...]] = (
    ("mapping values are not allowed", _second_colon),
    ("could not find expected ':'", _no_colon),
    ("did not find expected key", _no_key),
    ("did not find expected '-'", _no_dash),
    ("did not find expected ','", _bracket),
    ("did not find expected node content", _no_content),
    ("cannot start any token", _bad_start),
    ("tab character", _tab),
    ("did not find expected alphabetic", _bare_sign),
    ("block sequence entries are not allowed", _list_in_line),
    ("mapping keys are not allowed", _key_in_line),
    ("unexpected end of stream", _open_quote),
    ("unexpected document indicator", _open_quote),
    ("escape", _escape),
    ("hexdecimal", _escape),
    ("comment or line break", _block),
    ("indentation indicator", _block),
    ("tag handle", _tag),
    ("tag URI", _tag),
    ("expected '!'", _tag),
    ("expected '>'", _tag),
    ("directive", _directive),
    ("version", _directive),
    ("incompatible YAML document", _directive),
    ("<document start>", _outside),
)
