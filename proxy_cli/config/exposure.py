"""Secrets that stand in a file which every user of the machine can read."""

import shlex
import stat
from collections.abc import Iterator
from typing import Final

from proxy_cli.config.privacy import holds_password, is_key, is_secret_name
from proxy_cli.config.problem import Path, Problem, Severity, dotted
from proxy_cli.config.scalar import Scalar
from proxy_cli.config.source import Document
from proxy_cli.config.tree import Mapping, Tree

_SHORTEST: Final = 8  # shorter ones are everyday words: None, EMPTY, test
_FROM_VARIABLE: Final = "os.environ/"


def exposed(document: Document) -> list[Problem]:
    """A warning when others may read the file and it holds secrets; none when it was not read from a file."""
    if document.mode is None or not document.mode & stat.S_IROTH:
        return []
    paths = list(inline_secrets(document.values))
    if not paths:
        return []
    secrets = "a secret" if len(paths) == 1 else f"{len(paths)} secrets"
    message = f"every user of this machine can read this file (mode {document.mode:04o}), and it holds {secrets}"
    cure = f"chmod 600 {shlex.quote(document.file)}, or write os.environ/NAME in their place"
    return [Problem(document.place(paths[0]), message, cure, dotted(paths[0]), Severity.WARNING)]


def inline_secrets(tree: Tree, path: Path = ()) -> Iterator[Path]:
    """The paths of all values that are secrets by their name or their form, and stand in the file itself."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from inline_secrets(value, (*path, key))
    elif not isinstance(tree, Scalar):
        for index, value in enumerate(tree):
            yield from inline_secrets(value, (*path, index))
    elif _is_secret(path, tree):
        yield path


def _is_secret(path: Path, scalar: Scalar) -> bool:
    if len(scalar.text) < _SHORTEST or scalar.replaced or scalar.text.startswith(_FROM_VARIABLE):
        return False
    name = next((step for step in reversed(path) if isinstance(step, str)), "")
    return is_secret_name(name) or holds_password(scalar.text) or is_key(scalar.text)
