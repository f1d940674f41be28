"""From libyaml's events to a tree of scalars that knows its places, within a budget.

PyYAML's own composer forgets what was written, recurses once for each level, lets merges grow without bound and takes
the last of two equal keys in silence. This one reports, and goes on where it can. It never builds Python objects, and
never repeats a value.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import yaml

from proxy_cli.config.privacy import is_secret_name, looks_secret, shown
from proxy_cli.config.problem import Path, Place, Problem, Severity, did_you_mean, dotted
from proxy_cli.config.scalar import Kind, Scalar, has_leading_zero, is_sexagesimal, kind_of
from proxy_cli.config.tree import Branch, Mapping, Sequence, Spot, Tree

DEEPEST: Final = 64
MOST_EXPANDED: Final = 100_000  # nodes that aliases and merges bring in
MOST_WRITTEN: Final = 500_000  # nodes written out; a file of 10,000 deployments has some 150,000
MOST_PROBLEMS: Final = 1_000

_STANDARD = "tag:yaml.org,2002:"
_SCALAR_TAGS: Final[dict[str, Kind]] = {"str": "text", "int": "int", "float": "float", "bool": "bool", "null": "null"}
_USE_A_VARIABLE = 'write "os.environ/NAME" as the value to read a variable'
_TAG_CURES: Final = {
    "env": _USE_A_VARIABLE,
    "env_var": _USE_A_VARIABLE,
    "secret": _USE_A_VARIABLE,
    "vault": _USE_A_VARIABLE,
    "include": "list files under a top-level `include:` key",
}


class _Key:
    """What a mapping waits for when it waits for no plain key."""


_NEEDS_KEY: Final = _Key()
_MERGE: Final = _Key()  # the value of a `<<`
_DROPPED: Final = _Key()  # the value of a key that was refused


class _Stop(Exception):
    """Going on would cost too much or lead nowhere; the problem is already noted."""


class _Enough(Exception):
    """What follows is not wanted, what came so far is."""


@dataclass(slots=True)
class _Frame:
    """A branch that is still open."""

    branch: Branch
    spot: Spot
    anchor: str | None
    key: str | _Key = _NEEDS_KEY
    key_spot: Spot = (1, 1)
    merges: list[Mapping] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the text that is content and not structure: a quoted text or a block."""

    start: int
    end: int


@dataclass(slots=True)
class Composed:
    """What came out: a root, unless nothing usable was there, and where each opaque stretch of text lies."""

    root: Tree | None = None
    spot: Spot = (1, 1)
    problems: list[Problem] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    failure: yaml.MarkedYAMLError | None = None
    last: yaml.Event | None = None  # the last event before a failure


class Composer:
    """Takes events one by one; `run` is the way in."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._out = Composed()
        self._open: list[_Frame] = []
        self._anchors: dict[str, tuple[Tree, Spot]] = {}
        self._scalars: dict[tuple[str, str | None], Scalar] = {}
        self._written = 0
        self._expanded = 0
        self._documents = 0

    def run(self, events: Iterator[yaml.Event]) -> Composed:
        """Everything that the events tell, up to the first place where they cannot be followed."""
        try:
            for event in events:
                self._out.last = event
                self._take(event)
        except yaml.MarkedYAMLError as failure:
            self._out.failure = failure
            self._out.root = None
        except _Stop:
            self._out.root = None
        except _Enough:
            pass
        return self._out

    def _take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent():
                self._begin(event, Mapping())
            case yaml.SequenceStartEvent():
                self._begin(event, Sequence())
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self._document(event)
            case _:
                pass

    # -- what an event means

    def _document(self, event: yaml.Event) -> None:
        self._documents += 1
        if self._documents > 1:
            self._report(_spot(event), "a second document begins here", "keep one document in a file; remove the `---`")
            raise _Enough

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._count()
        spot, style = _spot(event), event.style
        if style and event.start_mark and event.end_mark:
            self._out.spans.append(Span(event.start_mark.index, event.end_mark.index))
        if event.tag is not None:
            scalar = self._tagged(event.tag, event.value, spot)
        else:
            known = self._scalars.get((event.value, style))
            scalar = known if known is not None else self._new_scalar(event.value, style)
        if event.anchor is not None:
            self._anchors[event.anchor] = (scalar, spot)
        self._place(scalar, spot, plain=not style and event.tag is None)

    def _new_scalar(self, text: str, style: str | None) -> Scalar:
        scalar = Scalar(text, True, "text") if style else Scalar(text, False, kind_of(text))
        self._scalars[text, style] = scalar
        return scalar

    def _tagged(self, tag: str, text: str, spot: Spot) -> Scalar:
        name = tag.removeprefix(_STANDARD) if tag.startswith(_STANDARD) else ""
        kind = _SCALAR_TAGS.get(name)
        if tag == "!" or kind == "text" or name == "timestamp":
            return Scalar(text, True, "text")
        if kind is None:
            self._unknown_tag(tag, spot)
            return Scalar(text, True, "text")
        if kind != kind_of(text) and (kind, kind_of(text)) != ("float", "int"):
            self._report(spot, f"the tag !!{name} does not fit the value", "remove the tag, or correct the value")
            return Scalar(text, True, "text")
        return Scalar(text, False, kind)

    def _begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, branch: Branch) -> None:
        self._count()
        spot = _spot(event)
        if len(self._open) >= DEEPEST:
            self._report(spot, f"nested deeper than {DEEPEST} levels", "flatten this part of the file")
            raise _Stop
        expected = _STANDARD + ("map" if isinstance(branch, Mapping) else "seq")
        if event.tag is not None and event.tag not in ("!", expected):
            self._unknown_tag(event.tag, spot)
        if self._open and isinstance(self._open[-1].branch, Mapping) and self._open[-1].key is _NEEDS_KEY:
            self._report(spot, "a key must be one word, not a list or mapping", "quote the key if it holds [ ] { }")
        self._open.append(_Frame(branch, spot, event.anchor))

    def _end(self) -> None:
        frame = self._open.pop()
        if isinstance(frame.branch, Mapping):
            _merge(frame.branch, frame.merges)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (frame.branch, frame.spot)
        self._place(frame.branch, frame.spot, plain=False)

    def _alias(self, event: yaml.AliasEvent) -> None:
        self._count()
        spot, name = _spot(event), event.anchor or ""
        if any(frame.anchor == name for frame in self._open):
            self._report(spot, f"recursive alias: *{shown(name)} stands inside its own anchor", "write the value out")
            raise _Stop
        if name not in self._anchors:
            self._undefined(name, spot)
            self._place(Scalar("", False, "null"), spot, plain=False)
            return
        tree, _ = self._anchors[name]
        if isinstance(tree, Scalar):
            self._expanded += 1
        else:
            self._expanded += tree.size
            if len(self._open) + tree.height > DEEPEST:
                self._report(spot, f"the alias nests deeper than {DEEPEST} levels", "write the values out")
                raise _Stop
        if self._expanded > MOST_EXPANDED:
            message = f"aliases and merges expand to more than {MOST_EXPANDED:,} nodes"
            self._report(spot, message, "write the values out")
            raise _Stop
        self._place(tree, spot, plain=False)

    # -- where a value goes

    def _place(self, tree: Tree, spot: Spot, *, plain: bool) -> None:
        if not self._open:
            self._out.root, self._out.spot = tree, spot
            return
        frame = self._open[-1]
        branch = frame.branch
        if isinstance(branch, Mapping):
            if frame.key is _NEEDS_KEY:
                self._key(frame, branch, tree, spot, plain=plain)
                return
            self._value(frame, branch, tree, spot)
        else:
            if isinstance(tree, Scalar):
                self._look_at(tree, spot)
            branch.append(tree)
            branch.marks.append(spot)
        self._grow(branch, tree)

    def _value(self, frame: _Frame, branch: Mapping, tree: Tree, spot: Spot) -> None:
        key = frame.key
        if isinstance(key, str):
            if isinstance(tree, Scalar):
                self._look_at(tree, spot)
            branch[key] = tree
            branch.marks[key] = (*frame.key_spot, *spot)
        elif key is _MERGE:
            self._note_merge(frame, tree, spot)
        frame.key = _NEEDS_KEY

    def _key(self, frame: _Frame, branch: Mapping, tree: Tree, spot: Spot, *, plain: bool) -> None:
        frame.key_spot = spot
        if not isinstance(tree, Scalar):
            frame.key = _DROPPED
        elif plain and tree.text == "<<":
            frame.key = _MERGE
        elif not tree.text:
            self._report(spot, "a key is missing before the colon", "write the name of the setting")
            frame.key = _DROPPED
        elif tree.text in branch:
            first = branch.key_spot(tree.text)[0]
            cure = f"keep one of the two, on line {first} or line {spot[0]}"
            message = f'duplicate key "{shown(tree.text)}": it is set on line {first} already'
            self._report(spot, message, cure, key=tree.text)
            frame.key = _DROPPED
        else:
            frame.key = tree.text

    def _note_merge(self, frame: _Frame, tree: Tree, spot: Spot) -> None:
        several = tree if isinstance(tree, Sequence) else [tree]
        merges = [each for each in several if isinstance(each, Mapping)]
        if len(merges) != len(several):
            cure = "name an anchor that stands before a mapping: <<: *defaults"
            self._report(spot, "`<<` merges mappings only", cure)
        frame.merges += merges

    def _grow(self, branch: Branch, tree: Tree) -> None:
        if isinstance(tree, Scalar):
            branch.size += 1
        elif isinstance(tree, Mapping | Sequence):
            branch.size += tree.size
            branch.height = max(branch.height, tree.height + 1)

    # -- what is worth a word

    def _look_at(self, scalar: Scalar, spot: Spot) -> None:
        if scalar.quoted or scalar.kind != "text":
            return
        if is_sexagesimal(scalar.text):
            self._report(spot, "sexagesimal number: YAML reads it to base 60", "quote it")
        elif has_leading_zero(scalar.text):
            message = "a number that starts with zero may be read as octal; it is taken as the text as written"
            self._report(spot, message, "quote it", severity=Severity.WARNING)

    def _undefined(self, name: str, spot: Spot) -> None:
        near = did_you_mean(name, self._anchors)
        private = any(is_secret_name(step) for step in self._path() if isinstance(step, str))
        message = "undefined alias" if private else f"undefined alias *{shown(name)}"
        unsaid = 'define it with & first, or quote a value that begins with "*"'
        cure = f"did you mean *{shown(near)}?" if near else unsaid
        self._report(spot, message, cure)

    def _unknown_tag(self, tag: str, spot: Spot) -> None:
        name = tag.removeprefix(_STANDARD)
        if name.startswith("python/"):
            self._report(spot, "Python tags are refused: a config is data", "remove the tag and write a plain value")
            return
        cure = _TAG_CURES.get(name.lstrip("!").lower(), "remove the tag, or quote a value that begins with !")
        private = any(is_secret_name(step) for step in self._path() if isinstance(step, str)) or looks_secret(name[1:])
        written = name if name.startswith("!") else f"!!{name}"
        self._report(spot, "unknown tag" if private else f"unknown tag {shown(written)}", cure)

    # -- keeping count

    def _count(self) -> None:
        self._written += 1
        if self._written > 2 * MOST_WRITTEN:
            self._report((1, 1), f"more than {MOST_WRITTEN:,} values", "split the file with `include:`")
            raise _Stop

    def _path(self) -> Path:
        steps: list[str | int] = []
        for frame in self._open:
            if isinstance(frame.branch, Sequence):
                steps.append(len(frame.branch))
            elif isinstance(frame.key, str):
                steps.append(frame.key)
        return tuple(steps)

    def _report(
        self, spot: Spot, message: str, cure: str, *, key: str | None = None, severity: Severity = Severity.ERROR
    ) -> None:
        path = self._path() if key is None else (*self._path(), key)
        self._out.problems.append(Problem(Place(self._file, *spot), message, cure, dotted(path), severity))
        if len(self._out.problems) >= MOST_PROBLEMS:
            raise _Stop


def _spot(event: yaml.Event) -> Spot:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _merge(branch: Mapping, merges: list[Mapping]) -> None:
    """What is written in the mapping wins over what is merged, and the first merge over later ones."""
    for source in merges:
        for key, value in source.items():
            if key not in branch:
                branch[key] = value
                branch.marks[key] = source.marks[key]
