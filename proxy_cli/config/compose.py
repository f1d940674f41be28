"""From libyaml's events to a tree of scalars that knows its places, within a budget.

PyYAML's own composer forgets what was written, recurses once for each level, lets merges grow without bound and takes
the last of two equal keys in silence. This one reports, and goes on where it can. It never builds Python objects, and
never repeats a value.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml

from proxy_cli.config import lookalike
from proxy_cli.config.privacy import HIDDEN, is_secret_name, shown
from proxy_cli.config.problem import Path, Place, Problem, Severity, did_you_mean, dotted
from proxy_cli.config.scalar import Scalar, base_60, has_leading_zero, is_sexagesimal, kind_of
from proxy_cli.config.tags import STANDARD, BadTag, tagged, unknown
from proxy_cli.config.text import code_point
from proxy_cli.config.tree import Branch, Mapping, Sequence, Spot, Tree

DEEPEST: Final = 64
MOST_EXPANDED: Final = 100_000  # nodes that aliases and merges bring in
MOST_EVENTS: Final = 600_000  # a file of 10,000 deployments has some 300,000
MOST_PROBLEMS: Final = 1_000

_MOST_COMPARED: Final = 100  # each comparison takes its time, and each undefined alias wants a hundred
_QUOTES: Final = ("'", '"')


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
    size: int = 1  # of the branches in it; scalars are counted at the end
    height: int = 0
    begun_anew: bool = False  # its first key came twice: a dash is missing


class Span(NamedTuple):
    """A stretch of the text that is content and not structure: a quoted text or a block."""

    start: int
    end: int
    is_quote: bool


@dataclass(slots=True)
class Composed:
    """What came out: a root, unless nothing usable was there, and where each opaque stretch of text lies."""

    root: Tree | None = None
    spot: Spot = (1, 1)
    problems: list[Problem] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    failure: yaml.MarkedYAMLError | None = None
    last: yaml.Event | None = None  # what came before the failure


class Composer:
    """Takes events one by one; `run` is the way in."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._out = Composed()
        self._open: list[_Frame] = []
        self._anchors: dict[str, Tree] = {}
        # Many words of a file are equal: each is made and looked at once. These raise no doubt, as key or as value.
        self._usual: dict[str, Scalar] = {}
        self._dubious: set[str] = set()
        self._expanded = 0
        self._documents = 0
        self._shift = 0
        self._event: yaml.ScalarEvent | None = None

    def run(self, events: Iterable[yaml.Event], shift: int = 0) -> Composed:
        """Everything that the events tell, up to the first place where they cannot be followed.

        A second run takes up the file after such a place: `shift` is how far its text begins after the first one's.
        """
        takes = self._takes()
        out = self._out
        out.failure, self._documents, self._shift = None, 0, shift
        self._open.clear()
        event = None
        try:
            for count, event in enumerate(events):
                if count > MOST_EVENTS:
                    self._report(_spot(event), f"more than {MOST_EVENTS:,} keys and values", "split it with `include:`")
                    raise _Stop
                takes[type(event)](event)
        except yaml.MarkedYAMLError as failure:
            out.failure, out.last, out.root = failure, event, None
        except _Stop:
            out.root = None
        except _Enough:
            pass
        return out

    def _takes(self) -> dict[type, Callable[[Any], None]]:
        return {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._mapping,
            yaml.SequenceStartEvent: self._sequence,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
            yaml.DocumentEndEvent: _ignore,
            yaml.StreamStartEvent: _ignore,
            yaml.StreamEndEvent: _ignore,
        }

    # -- what an event means

    def _document(self, event: yaml.Event) -> None:
        self._documents += 1
        if self._documents > 1:
            self._report(_spot(event), "a second document begins here", "keep one document in a file; remove the `---`")
            raise _Enough

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        """The usual case, a plain word that was seen before, goes straight to its place."""
        text = event.value
        usual = None if event.style or event.tag or event.anchor else self._usual.get(text)
        if usual is None or not self._open:
            self._unusual(event)
            return
        frame = self._open[-1]
        key, branch = frame.key, frame.branch
        if isinstance(branch, Mapping) and isinstance(key, str):
            branch[key] = usual
            branch.marks[key] = (frame.key_spot, _spot(event))
            frame.key = _NEEDS_KEY
        elif isinstance(branch, Mapping) and key is _NEEDS_KEY and text not in branch:
            frame.key, frame.key_spot = text, _spot(event)
        else:
            self._unusual(event)

    def _unusual(self, event: yaml.ScalarEvent) -> None:
        self._event = event
        spot, style = _spot(event), event.style
        if style and event.start_mark and event.end_mark:
            begin, end = event.start_mark.index + self._shift, event.end_mark.index + self._shift
            self._out.spans.append(Span(begin, end, style in _QUOTES))
        if event.tag is not None:
            scalar = self._tagged(event.tag, event.value, spot)
        elif style:
            scalar = Scalar(event.value, True, "text")
        else:
            scalar = self._usual.get(event.value) or self._plain(event.value)
        if event.anchor is not None:
            self._anchors[event.anchor] = scalar
        self._place(scalar, spot)

    def _plain(self, text: str) -> Scalar:
        scalar = Scalar(text, False, kind_of(text))
        if is_sexagesimal(text) or has_leading_zero(text) or (not text.isascii() and lookalike.ODD.search(text)):
            self._dubious.add(text)
        elif text not in ("", "<<"):
            self._usual[text] = scalar
        return scalar

    def _tagged(self, tag: str, text: str, spot: Spot) -> Scalar:
        try:
            return tagged(tag, text, private=self._is_private())
        except BadTag as why:
            self._report(spot, why.message, why.cure)
            return Scalar(text, True, "text")

    def _mapping(self, event: yaml.MappingStartEvent) -> None:
        self._begin(Mapping(), event, f"{STANDARD}map")

    def _sequence(self, event: yaml.SequenceStartEvent) -> None:
        self._begin(Sequence(), event, f"{STANDARD}seq")

    def _begin(self, branch: Branch, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, tag: str) -> None:
        spot = _spot(event)
        if event.tag is not None and event.tag not in ("!", tag):
            why = unknown(event.tag, private=self._is_private())
            self._report(spot, why.message, why.cure)
        if len(self._open) >= DEEPEST:
            self._report(spot, f"nested deeper than {DEEPEST} levels", "flatten this part of the file")
            raise _Stop
        if self._open and isinstance(self._open[-1].branch, Mapping) and self._open[-1].key is _NEEDS_KEY:
            if isinstance(branch, Mapping) and isinstance(event, yaml.MappingStartEvent) and event.flow_style:
                cure = 'quote a value that begins with "{{"; a variable is written os.environ/NAME'
                self._report(spot, '"{{" is no template here: a key must be one word', cure)
            else:
                cure = "quote the key if it holds [ ] { }"
                self._report(spot, "a key must be one word, not a list or mapping", cure)
        self._open.append(_Frame(branch, spot, event.anchor))

    def _end(self, _: yaml.Event) -> None:
        frame = self._open.pop()
        branch = frame.branch
        if isinstance(branch, Mapping):
            _merge(branch, frame.merges)
        branch.size = frame.size + len(branch)
        branch.height = frame.height + 1
        if frame.anchor is not None:
            self._anchors[frame.anchor] = branch
        self._place(branch, frame.spot)

    def _alias(self, event: yaml.AliasEvent) -> None:
        spot, name = _spot(event), event.anchor or ""
        if any(frame.anchor == name for frame in self._open):
            self._report(
                spot, f"recursive alias: *{self._name(name)} stands inside its own anchor", "write the value out"
            )
            raise _Stop
        tree = self._anchors.get(name)
        if tree is None:
            self._undefined(name, spot)
            merges = bool(self._open) and self._open[-1].key is _MERGE
            tree = Mapping() if merges else Scalar("", False, "null")
        self._spend(tree, spot)
        self._place(tree, spot)

    def _spend(self, tree: Tree, spot: Spot) -> None:
        """What an alias stands for counts in full each time, or nine short lines could mean a billion values."""
        self._expanded += 1 if isinstance(tree, Scalar) else tree.size
        if self._expanded > MOST_EXPANDED:
            message = f"aliases and merges expand to more than {MOST_EXPANDED:,} nodes"
            self._report(spot, message, "write the values out")
            raise _Stop
        if not isinstance(tree, Scalar) and len(self._open) + tree.height > DEEPEST:
            self._report(spot, f"the alias nests deeper than {DEEPEST} levels", "write the values out")
            raise _Stop

    # -- where a value goes

    def _place(self, tree: Tree, spot: Spot) -> None:
        if not self._open:
            if isinstance(tree, Scalar) and tree.text in self._dubious:
                self._doubt(tree, spot)
            self._out.root, self._out.spot = tree, spot
            return
        frame = self._open[-1]
        branch = frame.branch
        if isinstance(branch, Mapping):
            if frame.key is _NEEDS_KEY:
                self._key(frame, branch, tree, spot)
                return
            self._value(frame, branch, tree, spot)
        else:
            if isinstance(tree, Scalar) and tree.text in self._dubious:
                self._doubt(tree, spot)
            branch.append(tree)
            branch.marks.append(spot)
        if not isinstance(tree, Scalar):
            frame.size += tree.size - 1
            frame.height = max(frame.height, tree.height)

    def _value(self, frame: _Frame, branch: Mapping, tree: Tree, spot: Spot) -> None:
        key = frame.key
        if isinstance(key, str):
            if isinstance(tree, Scalar) and tree.text in self._dubious:
                self._doubt(tree, spot)
            branch[key] = tree
            branch.marks[key] = (frame.key_spot, spot)
        elif key is _MERGE:
            self._note_merge(frame, tree, spot)
        frame.key = _NEEDS_KEY

    def _key(self, frame: _Frame, branch: Mapping, tree: Tree, spot: Spot) -> None:
        frame.key_spot = spot
        if not isinstance(tree, Scalar):
            frame.key = _DROPPED
        elif tree.text in branch:
            self._duplicate(frame, branch, tree.text, spot)
            frame.key = _DROPPED
        elif tree.text == "<<" and not tree.quoted:
            frame.key = _MERGE
        elif not tree.text:
            self._report(spot, "a key is missing before the colon", "write the name of the setting")
            frame.key = _DROPPED
        else:
            frame.key = tree.text
            if tree.text in self._dubious and not tree.quoted and (found := lookalike.in_key(tree.text)) is not None:
                self._slip(found, spot)

    def _note_merge(self, frame: _Frame, tree: Tree, spot: Spot) -> None:
        several = tree if isinstance(tree, Sequence) else [tree]
        merges = [each for each in several if isinstance(each, Mapping)]
        if len(merges) != len(several):
            cure = "name an anchor that stands before a mapping: <<: *defaults"
            self._report(spot, "`<<` merges mappings only", cure)
        frame.merges += merges

    # -- what is worth a word

    def _doubt(self, scalar: Scalar, spot: Spot) -> None:
        if scalar.quoted:
            return
        if is_sexagesimal(scalar.text):
            meant = f"quote it if it is a text, else write {base_60(scalar.text)}"
            self._report(spot, "sexagesimal number: YAML reads it to base 60", meant)
        elif has_leading_zero(scalar.text):
            message = "a number that starts with zero may be read as octal; it is taken as the text as written"
            self._report(spot, message, "quote it", severity=Severity.WARNING)
        elif (found := lookalike.in_value(scalar.text)) is not None:
            self._slip(found, spot)

    def _slip(self, found: lookalike.Found, spot: Spot) -> None:
        event = self._event
        if event and event.start_mark and event.end_mark and event.start_mark.line == event.end_mark.line:
            spot = (spot[0], spot[1] + found.offset)
        self._report(spot, f"{code_point(found.letter, spot)} {found.what}", found.cure)

    def _duplicate(self, frame: _Frame, branch: Mapping, key: str, spot: Spot) -> None:
        if frame.begun_anew:
            return
        first = branch.key_spot(key)[0]
        message = f'duplicate key "{self._name(key)}": it is set on line {first} already'
        cure = f"keep one of the two, on line {first} or line {spot[0]}"
        if len(branch) > 1 and key == next(iter(branch)) and len(self._open) > 1 and self._is_entry():
            # A list entry whose first key comes again is the next entry, without its dash.
            frame.begun_anew = True
            cure = f'begin the next entry with "- " on line {spot[0]}, or {cure}'
        self._report(spot, message, cure, key=key)

    def _is_entry(self) -> bool:
        return isinstance(self._open[-2].branch, Sequence)

    def _undefined(self, name: str, spot: Spot) -> None:
        near = did_you_mean(name, list(self._anchors)[:_MOST_COMPARED])
        unsaid = 'define it with & first, or quote a value that begins with "*"'
        cure = f"did you mean *{shown(near)}?" if near else unsaid
        self._report(spot, f"undefined alias *{self._name(name)}", cure)

    # -- telling

    def _name(self, name: str) -> str:
        return HIDDEN if self._is_private() else shown(name)

    def _is_private(self) -> bool:
        """Whether a key around this place names a secret, so that not even names are repeated here."""
        return any(is_secret_name(step) for step in self._path() if isinstance(step, str))

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
        if len(self._out.problems) == MOST_PROBLEMS:
            self._out.problems.append(Problem(Place(self._file, *spot), "too many problems: reading ends here"))
            raise _Stop


def _spot(event: yaml.Event) -> Spot:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _ignore(_: yaml.Event) -> None:
    """An event that means nothing here."""


def _merge(branch: Mapping, merges: list[Mapping]) -> None:
    """What is written in the mapping wins over what is merged, and the first merge over later ones."""
    for source in merges:
        for key, value in source.items():
            if key not in branch:
                branch[key] = value
                branch.marks[key] = source.marks[key]
