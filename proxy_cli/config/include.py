"""A configuration that is spread over files: `include` put together, and where each part of the whole stands.

Paths are relative to the file that names them. Lists of the same name are joined; of all else the included file's
wins, as with LiteLLM, and that is said. Refused: a file that includes itself, a chain without end, and any file
outside the folder of the first one.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Final

from proxy_cli.config.fields import described
from proxy_cli.config.problem import Path, Place, Problem, Severity, dotted
from proxy_cli.config.scalar import Scalar
from proxy_cli.config.source import Document, read
from proxy_cli.shapes import Json

_DEEPEST: Final = 16


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of one file that became a piece of the whole."""

    document: Document
    path: Path


@dataclass(frozen=True, slots=True)
class Gathered:
    """All files as one tree; a path of the tree leads back to its file."""

    file: str
    values: dict[str, Json] = field(default_factory=dict)
    parts: dict[Path, Part] = field(default_factory=dict)
    documents: tuple[Document, ...] = ()
    files: tuple[FilePath, ...] = ()
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path) -> Place:
        """Where a value stands, or the nearest parent of one that is missing."""
        part, rest = self._part(path)
        return part.document.place((*part.path, *rest)) if part else Place(self.file, 1, 1)

    def key_place(self, path: Path) -> Place:
        """Where the key of a value stands."""
        part, rest = self._part(path)
        return part.document.key_place((*part.path, *rest)) if part else Place(self.file, 1, 1)

    def _part(self, path: Path) -> tuple[Part | None, Path]:
        for length in (2, 1):
            if len(path) >= length and (part := self.parts.get(path[:length])):
                return part, path[length:]
        return None, ()


def gather(path: FilePath) -> Gathered:
    """The configuration in a file and in all files it includes, with what is wrong with the files."""
    return _Gathering(path).run()


@dataclass(slots=True)
class _Merged:
    """The top level of a file with its includes: for lists, one piece an entry."""

    single: dict[str, tuple[Json, Part]] = field(default_factory=dict)
    lists: dict[str, list[tuple[Json, Part]]] = field(default_factory=dict)


class _Gathering:
    def __init__(self, path: FilePath) -> None:
        self._path = path
        self._base = FilePath(os.path.realpath(path.parent))
        # Filled while files are read, one after the other.
        self._problems: list[Problem] = []
        self._documents: list[Document] = []
        self._files: list[FilePath] = []
        self._seen: set[str] = set()

    def run(self) -> Gathered:
        document, problems = read(self._path)
        self._problems += problems
        if document is None:
            return Gathered(str(self._path), files=(self._path,), problems=self._problems)
        merged = self._merge(document, self._path, (self._path,))
        values: dict[str, Json] = {key: value for key, (value, _) in merged.single.items()}
        parts: dict[Path, Part] = {(key,): part for key, (_, part) in merged.single.items()}
        for key, entries in merged.lists.items():
            values[key] = [value for value, _ in entries]
            parts[(key,)] = Part(entries[0][1].document, (key,)) if entries else Part(document, (key,))
            parts |= {(key, index): part for index, (_, part) in enumerate(entries)}
        return Gathered(document.file, values, parts, tuple(self._documents), tuple(self._files), self._problems)

    def _merge(self, document: Document, path: FilePath, chain: tuple[FilePath, ...]) -> _Merged:
        self._documents.append(document)
        self._files.append(path)
        self._seen.add(os.path.realpath(path))
        merged = _Merged()
        for key, value in document.values.items():
            if isinstance(value, list):
                merged.lists[key] = [(entry, Part(document, (key, index))) for index, entry in enumerate(value)]
            else:
                merged.single[key] = (value, Part(document, (key,)))
        for item_path, text in self._named(document):
            included = self._open(document, item_path, path.parent / text, chain)
            if included is not None:
                inner, inner_path = included
                self._join(merged, self._merge(inner, inner_path, (*chain, inner_path)))
        return merged

    def _join(self, merged: _Merged, inner: _Merged) -> None:
        inner.single.pop("include", None)
        inner.lists.pop("include", None)
        for key, entries in inner.lists.items():
            merged.single.pop(key, None)
            merged.lists.setdefault(key, []).extend(entries)
        for key, (value, part) in inner.single.items():
            if (former := merged.single.get(key)) is not None:
                message = f"replaced as a whole by the one in {part.document.file}"
                self._warn(former[1].document, former[1].path, message, "write all of it in one file")
            merged.lists.pop(key, None)
            merged.single[key] = (value, part)

    def _named(self, document: Document) -> Iterator[tuple[Path, str]]:
        given = document.values.get("include")
        if given is None or (isinstance(given, Scalar) and given.kind == "null"):
            return
        entries = list(enumerate(given)) if isinstance(given, list) else [(None, given)]
        for index, entry in entries:
            path: Path = ("include",) if index is None else ("include", index)
            if isinstance(entry, Scalar) and entry.kind == "text" and entry.text:
                yield path, entry.text
            else:
                self._fail(document, path, f"expected the path of a file, got {described(entry)}", "quote the path")

    def _open(
        self, document: Document, item: Path, path: FilePath, chain: tuple[FilePath, ...]
    ) -> tuple[Document, FilePath] | None:
        real = os.path.realpath(path)
        names = " -> ".join(step.name for step in (*chain, path))
        if real in {os.path.realpath(step) for step in chain}:
            self._fail(document, item, f"these files include each other: {names}", "take one include out")
        elif not FilePath(real).is_relative_to(self._base):
            message = f"{path.name} lies outside the folder of the configuration ({names})"
            self._fail(document, item, message, f"move it below {self._base}")
        elif len(chain) >= _DEEPEST:
            self._fail(document, item, f"more than {_DEEPEST} files deep: {names}", "include fewer files in turn")
        elif real in self._seen:
            self._warn(document, item, f"{path.name} is included already; it counts once", "take this one out")
        else:
            return self._read(document, item, path, names)
        return None

    def _read(self, document: Document, item: Path, path: FilePath, names: str) -> tuple[Document, FilePath] | None:
        included, problems = read(path)
        if included is not None or any((problem.place.line, problem.place.column) != (1, 1) for problem in problems):
            self._problems += problems
            return None if included is None else (included, path)
        for problem in problems:
            self._fail(document, item, f"{path.name}: {problem.message} ({names})", problem.cure)
        return None

    def _fail(self, document: Document, path: Path, message: str, cure: str) -> None:
        self._problems.append(Problem(document.place(path), message, cure, dotted(path)))

    def _warn(self, document: Document, path: Path, message: str, cure: str) -> None:
        self._problems.append(Problem(document.key_place(path), message, cure, dotted(path), Severity.WARNING))
