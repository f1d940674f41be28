"""A config file as a document: values that keep their text, and the place of each.

This is the lower half of the room: it knows YAML and no setting. All that is wrong comes back as problems, as many at
once as can be told apart; nothing here raises for what a file may hold, and nothing takes long.
"""

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path as FilePath

import yaml

from proxy_cli.config.comments import cut_values
from proxy_cli.config.compose import Composed, Composer
from proxy_cli.config.opening import LARGEST, SPLIT, TOO_LARGE, Unreadable, file_name, slurp
from proxy_cli.config.problem import Path, Place, Problem
from proxy_cli.config.scalar import Scalar
from proxy_cli.config.syntax import next_section, slips_of
from proxy_cli.config.text import Text, decode
from proxy_cli.config.tree import Mapping, Spot, find

_MOST_SLIPS = 20
# libyaml compares each directive with all before it.
_MOST_DIRECTIVES = 100
_DIRECTIVE = re.compile("^%", re.MULTILINE)
_EXAMPLE = "start with: model_list: [{model_name: fast, litellm_params: {model: openai/gpt-4o-mini}}]"
# The pure Python parser gives the same events, some twenty times slower.
_LOADER: type = getattr(yaml, "CLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """The settings of one file; nobody changes them."""

    file: str
    values: Mapping
    spot: Spot = (1, 1)
    mode: int | None = None  # permissions of the file, when it was one

    def place(self, path: Path) -> Place:
        """Where a value stands, or the nearest parent of one that is missing."""
        return Place(self.file, *find(self.values, self.spot, path, key=False))

    def key_place(self, path: Path) -> Place:
        """Where the key of a value stands, or the nearest parent of one that is missing."""
        return Place(self.file, *find(self.values, self.spot, path, key=True))


def read(path: FilePath) -> tuple[Document | None, list[Problem]]:
    """The document in a file, if it has one, and all that is wrong with it, in order."""
    name = file_name(path)
    try:
        opened = slurp(path)
    except Unreadable as why:
        return None, [Problem(Place(name, 1, 1), why.message, why.cure)]
    return _parse(opened.data, name, opened.mode)


def parse(data: bytes, file: str) -> tuple[Document | None, list[Problem]]:
    """The document in the bytes of a file, if they hold one, and all that is wrong with it, in order."""
    return _parse(data, file, None)


def _parse(data: bytes, file: str, mode: int | None) -> tuple[Document | None, list[Problem]]:
    if len(data) > LARGEST:
        return None, [Problem(Place(file, 1, 1), TOO_LARGE, SPLIT)]
    text, problems = decode(data, file)
    if problems and not text.whole:
        return None, problems  # no text at all
    composed, slips = _compose(text, file)
    garbled = {problem.place.line for problem in problems}
    problems += [slip for slip in slips if slip.place.line not in garbled]
    document = None if slips else _document(composed, file, mode)
    broken = {slip.place.line for slip in slips}
    problems += [problem for problem in composed.problems if problem.place.line not in broken]
    if document is not None:
        problems += cut_values(document.values, text, composed.spans, file)
    return document, _once(problems)


def _once(problems: list[Problem]) -> list[Problem]:
    """In order, and each slip once: one that breaks the syntax may have been seen before it broke."""
    told: dict[tuple[Place, str], Problem] = {}
    for problem in sorted(problems):
        told[problem.place, problem.message] = problem
    return list(told.values())


def _compose(text: Text, file: str) -> tuple[Composed, list[Problem]]:
    """The tree, or a problem for each top-level section that cannot be read."""
    slips: list[Problem] = []
    composer = Composer(file)
    directives = list(islice(_DIRECTIVE.finditer(text.whole), _MOST_DIRECTIVES))
    if len(directives) == _MOST_DIRECTIVES:
        message = f"{_MOST_DIRECTIVES} or more lines begin with %"
        place = Place(file, *text.spot(directives[0].start()))
        return Composed(), [Problem(place, message, "remove them: a config needs no YAML directives")]
    rest, shift = text.whole, 0
    while True:
        composed = composer.run(iter(_LOADER(rest).get_event, None), shift)
        if composed.failure is None:
            return composed, slips
        found = slips_of(composed, text)
        slips += [Problem(Place(file, *slip.spot), slip.message, slip.cure) for slip in found]
        section = next_section(text, max(slip.spot[0] for slip in found))
        if section is None or len(slips) >= _MOST_SLIPS:
            return composed, slips
        # Empty lines in place of what was read keep the line numbers right.
        begin, skipped = text.starts[section - 1], section - 1
        rest, shift = "\n" * skipped + text.whole[begin:], begin - skipped


def _document(composed: Composed, file: str, mode: int | None) -> Document | None:
    root = composed.root
    if isinstance(root, Mapping):
        return Document(file, root, composed.spot, mode)
    if root is None and composed.problems:
        return None
    if root is None or (isinstance(root, Scalar) and root.kind == "null"):
        composed.problems.append(Problem(Place(file, *composed.spot), "the configuration is empty", _EXAMPLE))
        return None
    found = "one value" if isinstance(root, Scalar) else "a list"
    cure = "begin with a key at the left margin, such as model_list:"
    composed.problems.append(
        Problem(Place(file, *composed.spot), f"the top level must be a mapping, got {found}", cure)
    )
    return None
