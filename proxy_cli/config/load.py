"""From a file to a configuration: read, include, look up variables, validate, and say all that is wrong at once.

Every problem has its place and its cure and none holds a secret. The environment of the process is never changed:
what the file adds to it is part of the result.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as FilePath

from proxy_cli.config import survey
from proxy_cli.config.cascade import without_cascades
from proxy_cli.config.checks import cross_checks
from proxy_cli.config.exposure import exposed
from proxy_cli.config.fields import Remarks, described
from proxy_cli.config.include import Gathered, gather
from proxy_cli.config.master_key import master_key_problem
from proxy_cli.config.models import ModelEntry
from proxy_cli.config.problem import Path, Place, Problem, Severity, dotted
from proxy_cli.config.reading import Mistake, Unreadable
from proxy_cli.config.scalar import Scalar
from proxy_cli.config.schema import Config
from proxy_cli.config.state import State, is_nothing
from proxy_cli.config.variables import Finding, Resolved, resolve
from proxy_cli.shapes import Json

__all__ = ["Loaded", "SettingState", "load", "master_key_problem"]


@dataclass(frozen=True, slots=True)
class SettingState:
    """What becomes of one key of the file."""

    path: str
    state: State
    why: str
    place: Place


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a file; `config` is None where anything is wrong with it."""

    config: Config | None
    problems: list[Problem]
    files: tuple[FilePath, ...]
    environ: Mapping[str, str]
    sound: Mapping[int, ModelEntry]  # of a file that has errors, the entries that have none
    _gathered: Gathered

    @property
    def states(self) -> list[SettingState]:
        """What becomes of every key of the files; worked out when it is asked for."""
        values = resolve(self._gathered.values, self.environ).values
        return [
            SettingState(dotted(standing.path), standing.state, standing.why, self.key_place(standing.path))
            for standing in survey.standings(values)
        ]

    def place(self, path: Path) -> Place:
        """Where a value stands, or the nearest parent of one that is missing."""
        return self._gathered.place(path)

    def key_place(self, path: Path) -> Place:
        """Where the key of a value stands."""
        return self._gathered.key_place(path)

    def problem(self, path: Path, message: str, cure: str = "", severity: Severity = Severity.ERROR) -> Problem:
        """A problem that another room has found with a setting."""
        return Problem(self.place(path), message, cure, dotted(path), severity)


def load(path: FilePath, environ: Mapping[str, str], *, public_names: Collection[str] = ()) -> Loaded:
    """The configuration in a file; `public_names` are models served beside it, which aliases may name."""
    gathered = gather(path)
    if not gathered.documents:
        return Loaded(None, gathered.problems, gathered.files, environ, {}, gathered)
    resolved = resolve(gathered.values, environ, allow_empty=_allows_empty(gathered.values))
    config, findings = _validated(resolved)
    findings += resolved.findings
    findings += survey.findings(resolved.values)
    findings += cross_checks(resolved.values, public_names)
    findings = without_cascades(findings, resolved.values)
    problems = _in_order(gathered, [_placed(gathered, finding) for finding in findings])
    broken = any(problem.severity is Severity.ERROR for problem in problems)
    sound = _sound_entries(resolved, findings) if broken else {}
    return Loaded(None if broken else config, problems, gathered.files, resolved.environ, sound, gathered)


def _sound_entries(resolved: Resolved, findings: list[Finding]) -> Mapping[int, ModelEntry]:
    """The entries that nothing is wrong with, by their index; none where they lean on what may be broken."""
    wrong = {finding.path[:2] for finding in findings if finding.severity is Severity.ERROR}
    given = resolved.values.get("model_list")
    if not isinstance(given, list) or _has_broken_ground(wrong) or _has_shared_params(resolved.values):
        return {}
    sound = {}
    for index, entry in enumerate(given):
        if ("model_list", index) not in wrong:
            with suppress(Unreadable):
                sound[index] = ModelEntry.model_validate(entry)
    return sound


def _has_broken_ground(wrong: Collection[Path]) -> bool:
    """Whether variables that entries lean on, or a whole section, cannot be read."""
    return any(path[:1] == ("environment_variables",) or path == ("router_settings",) for path in wrong)


def _has_shared_params(values: Mapping[str, Json]) -> bool:
    """Whether entries may have their provider or address from `router_settings.default_litellm_params`."""
    router = values.get("router_settings")
    return isinstance(router, dict) and "default_litellm_params" in router


def _allows_empty(values: Mapping[str, Json]) -> bool:
    general = values.get("general_settings")
    allowed = general.get("allow_empty") if isinstance(general, dict) else None
    return isinstance(allowed, Scalar) and allowed.text.lower() in ("true", "yes", "on")


def _validated(resolved: Resolved) -> tuple[Config | None, list[Finding]]:
    remarks = Remarks()
    findings: list[Finding] = []
    config = None
    try:
        config = Config.model_validate(resolved.values, context=remarks)
    except Unreadable as failure:
        findings = [found for mistake in failure.mistakes if (found := _finding(mistake, resolved)) is not None]
    findings += _remarked(resolved.values, remarks)
    return config, findings


def _finding(mistake: Mistake, resolved: Resolved) -> Finding | None:
    path = tuple(step for step in mistake.path if not (isinstance(step, str) and step.startswith("(")))
    if path in resolved.unresolved:
        return None  # the variable that it names has been told already
    if mistake.kind == "missing":
        return Finding(path, *_missing(path, resolved.values))
    path = _existing(path, resolved.values)
    if mistake.kind == "setting":
        return Finding(path, mistake.message, mistake.cure)
    wanted = f"a {mistake.kind}"
    value = at(resolved.values, path)
    first = _LISTS_OF_MAPPINGS.get(path)
    if wanted == "a list" and first is not None:
        return Finding(path, f"expected a list of mappings, got {described(value)}", _dashes(value, first))
    cure = _SHAPES.get(wanted, "")
    if wanted == "a mapping" and isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        cure = _HOMELESS if any("litellm_params" in each for each in value) else "take the dashes away"
    return Finding(path, f"expected {wanted}, got {described(value)}", cure)


_SHAPES = {
    "a list": "write one entry a line, each after a dash",
    "a mapping": "write its settings below it, indented, as key: value",
}
_EXAMPLES: Mapping[tuple[str | int, str | int], str] = {
    ("model_list", "model"): "model: openai/name-of-the-model",
    ("model_list", "model_name"): "model_name: the-name-callers-use",
    ("model_list", "litellm_params"): "litellm_params: with model: openai/name-of-the-model below it",
    ("credential_list", "credential_name"): "credential_name: the-name-entries-refer-to",
    ("credential_list", "credential_values"): "credential_values: with api_key: os.environ/NAME below it",
}
_LISTS_OF_MAPPINGS: Mapping[Path, str] = {
    ("model_list",): "model_name: fast",
    ("credential_list",): "credential_name: shared",
}
_HOMELESS = "these are entries of model_list: move them below it"


def _dashes(value: Json, first: str) -> str:
    """How to begin the entries of a list; a mapping that is one of them lacks no more than its dash."""
    key = first.partition(":")[0]
    if isinstance(value, dict) and key in value:
        return f'put "- " before {key}, and indent what follows as far'
    return f"write one entry a line, each after a dash: - {first}"


def _missing(path: Path, values: Json) -> tuple[str, str]:
    """What to say of a setting that must be there; an entry of `model_list` is named by what it has."""
    message = survey.IS_MISSING
    if path[0] == "model_list" and len(path) > 1:
        entry = at(values, path[:2])
        name = entry.get("model_name") if isinstance(entry, dict) else None
        if isinstance(name, Scalar) and name.text and not is_nothing(name):
            message = f"{survey.IS_MISSING}; the entry's model_name is '{name.text}'"
    example = _EXAMPLES.get((path[0], path[-1]), f"{path[-1]}: ...")
    return message, f"add {example}"


def at(tree: Json, path: Path) -> Json:
    """What stands at a path, or None."""
    for step in path:
        if isinstance(tree, dict):
            tree = tree.get(step)
        elif isinstance(tree, list) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
        else:
            return None
    return tree


def _existing(path: Path, tree: Json) -> Path:
    """The part of a path that the file has: a value written in short is read as if written in full."""
    for length, step in enumerate(path):
        match tree:
            case dict() if step in tree:
                tree = tree[step]
            case list() if isinstance(step, int) and step < len(tree):
                tree = tree[step]
            case _:
                return path[:length]
    return path


def _remarked(values: Json, remarks: Remarks) -> list[Finding]:
    if not remarks.found:
        return []
    return [
        Finding(path, *remarks.found[id(scalar)][1:], severity=Severity.WARNING)
        for path, scalar in leaves(values)
        if id(scalar) in remarks.found
    ]


def leaves(tree: Json, path: Path = ()) -> list[tuple[Path, Scalar]]:
    """Every scalar of a tree with its path."""
    match tree:
        case Scalar():
            return [(path, tree)]
        case dict():
            return [leaf for key, value in tree.items() for leaf in leaves(value, (*path, key))]
        case list():
            return [leaf for index, value in enumerate(tree) for leaf in leaves(value, (*path, index))]
    return []


def _placed(gathered: Gathered, finding: Finding) -> Problem:
    place = gathered.key_place(finding.path) if finding.at_key else gathered.place(finding.path)
    return Problem(place, finding.message, finding.cure, dotted(finding.path), finding.severity)


def _in_order(gathered: Gathered, found: list[Problem]) -> list[Problem]:
    """By file in the order they were read, then by place; the same thing once."""
    # A value that the file's own reading refused already need not be refused by its setting too.
    refused = {_line(each) for each in gathered.problems if each.severity is Severity.ERROR}
    kept = [each for each in found if _line(each) not in refused]
    order = {document.file: index for index, document in enumerate(gathered.documents)}
    readable = [problem for document in gathered.documents for problem in exposed(document)]
    unique = dict.fromkeys([*gathered.problems, *kept, *readable])
    return sorted(unique, key=lambda problem: (order.get(problem.place.file, len(order)), problem))


def _line(problem: Problem) -> tuple[str, int, str]:
    return problem.place.file, problem.place.line, problem.path
