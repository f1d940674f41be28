"""`os.environ/NAME` in the file, and `environment_variables`: what they stand for.

All names that are missing are reported at once. A value is used without the blanks, line ends and quotes that slip
into variables; it is never part of a message.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy_cli.config.fields import exported, trim
from proxy_cli.config.privacy import is_secret_name
from proxy_cli.config.problem import Path, Severity, did_you_mean
from proxy_cli.config.scalar import Scalar
from proxy_cli.shapes import Json

PREFIX: Final = "os.environ/"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# In a header a key is often only a part of the value: `Bearer os.environ/NAME`.
_INSIDE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
_HEADERS: Final = frozenset({"headers", "extra_headers", "static_headers"})
# Names that steer the process itself: a configuration file is no place for them.
_PROCESS = re.compile(r"PATH|HOME|SHELL|IFS|LD_.*|DYLD_.*|PYTHON.*|VIRTUAL_ENV|GCONV_PATH|BASH_ENV|ENV")
# Ways of other programs to name a variable, which are text here: a key would go out as the very words.
_OTHERWISE = re.compile(
    r"(?:os\.environ|os\.env|environ|env|process\.env|os\.getenv|getenv|secrets)"
    r"(?:\.get)?[./\\:\[(]+[\"']?(?P<name>[A-Za-z_][A-Za-z0-9_]*)[\"']?[\])]*"
    r"|\$\(?\{?(?:env:)?(?P<shell>[A-Z_][A-Z0-9_]*)(?::?-[^}]*)?\}?\)?"
    r"|\{\{\s*(?:env\.)?(?P<template>[A-Z_][A-Z0-9_]*)\s*\}\}"
    r"|%(?P<batch>[A-Z_][A-Z0-9_]*)%",
    re.IGNORECASE,
)
_ADDRESSES: Final = frozenset({"api_base", "base_url", "api_version", "database_url"})
NOTHING: Final = Scalar(text="", quoted=False, kind="null")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a path of the tree; its place is looked up later."""

    path: Path
    message: str
    cure: str = ""
    severity: Severity = Severity.ERROR
    at_key: bool = False  # it is about the key, not about its value


@dataclass(slots=True)
class Resolved:
    """A tree with every variable replaced by its value."""

    environ: dict[str, str]
    values: dict[str, Json] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unresolved: set[Path] = field(default_factory=set)


def resolve(values: Mapping[str, Json], environ: Mapping[str, str], *, allow_empty: bool = False) -> Resolved:
    """The tree with all variables replaced, `environment_variables` counting as set where the process has none."""
    resolved = Resolved(dict(environ))
    resolver = _Resolver(resolved, allow_empty=allow_empty)
    given = values.get("environment_variables")
    if isinstance(given, Mapping):
        resolver.export(resolver.tree(given, ("environment_variables",)))
    resolved.values = {key: resolver.tree(value, (key,)) for key, value in values.items() if value is not given}
    if given is not None:
        resolved.values["environment_variables"] = resolver.exported if isinstance(given, Mapping) else given
    return resolved


class _Resolver:
    def __init__(self, resolved: Resolved, *, allow_empty: bool) -> None:
        self._resolved = resolved
        self._allow_empty = allow_empty
        self.exported: Json = None

    def tree(self, tree: Json, path: Path) -> Json:
        match tree:
            case dict():
                values = {key: self.tree(value, (*path, key)) for key, value in tree.items()}
                return self._sent(values, path) if path[-1] in _HEADERS else values
            case list():
                return [self.tree(value, (*path, index)) for index, value in enumerate(tree)]
            case Scalar() if PREFIX in tree.text:
                return self._scalar(tree, path)
            case Scalar() if (name := _written_otherwise(tree.text, path)) is not None:
                return self._unreadable(path, "a variable is not named like this", f"write os.environ/{name}")
            case _:
                return tree

    def _sent(self, headers: dict[str, Json], path: Path) -> dict[str, Json]:
        """Headers without those whose variable is allowed to be empty: there is nothing to send."""
        unresolved = self._resolved.unresolved
        return {key: value for key, value in headers.items() if value is not NOTHING or (*path, key) in unresolved}

    def export(self, variables: dict[str, Json]) -> None:
        """Add what the file sets to the environment; what the process was given wins."""
        self.exported = variables
        environ = self._resolved.environ
        for name, value in variables.items():
            path: Path = ("environment_variables", name)
            if not isinstance(value, Scalar) or value.kind == "null":
                continue
            if _PROCESS.fullmatch(name):
                self._find(path, "is not set: it steers the process", "set it outside", Severity.WARNING)
            elif name in environ and environ[name] != exported(value) and not value.replaced:
                self._find(path, "is set outside too, and that value is used", severity=Severity.NOTE)
            else:
                environ.setdefault(name, exported(value))

    def _scalar(self, scalar: Scalar, path: Path) -> Scalar:
        text = scalar.text.strip()
        if text.startswith(PREFIX):
            return self._whole(text.removeprefix(PREFIX).strip(), path)
        if len(path) > 1 and path[-2] in _HEADERS:
            return Scalar(_INSIDE.sub(lambda match: self._value(match[1], path) or "", scalar.text), True, "text", True)
        if _is_for_variables(path):
            message = "os.environ/ counts at the beginning of a value only"
            return self._unreadable(path, message, "put the whole value into one variable: os.environ/NAME")
        return scalar

    def _unreadable(self, path: Path, message: str, cure: str) -> Scalar:
        self._find(path, message, cure)
        self._resolved.unresolved.add(path)
        return NOTHING

    def _whole(self, name: str, path: Path) -> Scalar:
        if not _NAME.fullmatch(name):
            if not _NAME.match(name):
                message = "os.environ/ is not followed by the name of a variable"
                return self._unreadable(path, message, "write os.environ/NAME")
            message = "os.environ/ is followed by more than the name of a variable"
            cure = "write os.environ/NAME and nothing else; a name has letters, digits and _"
            return self._unreadable(path, message, cure)
        value = self._value(name, path)
        return NOTHING if value is None else Scalar(value, True, "text", True)

    def _value(self, name: str, path: Path) -> str | None:
        raw = self._resolved.environ.get(name)
        if raw is None:
            near = did_you_mean(name, self._resolved.environ)
            hint = f"did you mean {near}? " if near else ""
            self._find(path, f"the variable {name} is not set", f"{hint}export {name}=..., or write it into .env")
            self._resolved.unresolved.add(path)
            return None
        value, trimmed = trim(raw)
        if not value:
            if not self._allow_empty:
                cure = f"give {name} a value, or set general_settings.allow_empty: true"
                self._find(path, f"the variable {name} is set, but empty", cure)
                self._resolved.unresolved.add(path)
            return None
        if trimmed:
            message = f"the value of {name} has blanks or quotes around it; they were cut off"
            self._find(path, message, f"set {name} without them", Severity.WARNING)
        return value

    def _find(self, path: Path, message: str, cure: str = "", severity: Severity = Severity.ERROR) -> None:
        self._resolved.findings.append(Finding(path, message, cure, severity))


def _is_for_variables(path: Path) -> bool:
    """Whether a value is of those that people keep in variables: keys, passwords and addresses."""
    return isinstance(path[-1], str) and (path[-1] in _ADDRESSES or is_secret_name(path[-1]))


def _written_otherwise(text: str, path: Path) -> str | None:
    """The variable that a value seems to name in another program's way; NAME where that may be a secret itself."""
    if not text or text[0] not in "oOeEpPsSgG$%{" or not _is_for_variables(path):
        return None
    found = _OTHERWISE.fullmatch(text.strip())
    if found is None:
        return None
    name = next(name for name in found.groups() if name is not None)
    if found["name"] is None and not name.isupper():
        return None
    return name if name.isupper() else "NAME"
