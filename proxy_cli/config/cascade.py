"""One slip, one problem: what only follows from something else that is said already is left out.

A misspelt `litellm_params` is not missing as well, and a line that was not indented is one mistake, however many lines
follow it. Nothing stays hidden: what is left out is said once the slip is mended, if it is still true.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from proxy_cli.config.checks import PLACEHOLDER
from proxy_cli.config.models import ModelParams
from proxy_cli.config.problem import Path, Severity
from proxy_cli.config.state import is_nothing, settings
from proxy_cli.config.survey import FURTHER_LEFT, IS_MISSING, NO_SUCH_SETTING, resembles
from proxy_cli.config.variables import Finding
from proxy_cli.shapes import Json

_PARAMS: Final = "litellm_params"
_ADDRESS: Final = ("model", "api_base", "base_url")


def without_cascades(findings: list[Finding], values: Mapping[str, Json]) -> list[Finding]:
    """The findings, each slip told once, at the place where it is mended."""
    misshapen = [*_cut_entries(values), *_flat_entries(values)]
    mended = {index for _, indices in misshapen for index in indices}
    kept = [each for each in findings if not _is_of_shape(each, mended)]
    return [*(finding for finding, _ in misshapen), *_without_followers(kept)]


def _entries(values: Mapping[str, Json]) -> Iterator[tuple[int, dict[str, Json]]]:
    given = values.get("model_list")
    for index, entry in enumerate(given if isinstance(given, list) else []):
        if isinstance(entry, dict):
            yield index, entry


def _cut_entries(values: Mapping[str, Json]) -> Iterator[tuple[Finding, tuple[int, ...]]]:
    """An entry that a dash too many has cut: its name in one, its parameters in the next."""
    before: dict[str, Json] = {}
    for index, entry in _entries(values):
        if before.keys() == {"model_name"} and next(iter(entry), "") == _PARAMS and "model_name" not in entry:
            message = "begins with litellm_params, and the entry before has nothing but a model_name"
            cure = "take the dash away, so that both are one entry"
            yield Finding(("model_list", index), message, cure), (index - 1, index)
        before = entry


def _flat_entries(values: Mapping[str, Json]) -> Iterator[tuple[Finding, tuple[int, ...]]]:
    """Entries whose parameters stand beside `litellm_params`, or without it."""
    known = settings(ModelParams)
    for index, entry in _entries(values):
        beside = [key for key in entry if key in known]
        if "model" not in beside or not is_nothing(entry.get(_PARAMS)):
            continue
        names = ", ".join(beside)
        if _PARAMS in entry:
            message = f"has nothing below it, and beside it: {names}"
            finding = Finding(("model_list", index, _PARAMS), message, f"indent {names} further")
        else:
            message = f"litellm_params is missing above {names}"
            cure = f"write litellm_params: above, and indent {names} below it"
            finding = Finding(("model_list", index, beside[0]), message, cure, at_key=True)
        yield finding, (index,)


def _is_of_shape(finding: Finding, mended: Collection[int]) -> bool:
    """Whether a finding is about where the parts of such an entry stand, and not about a value."""
    if len(finding.path) != 3 or finding.path[0] != "model_list" or finding.path[1] not in mended:
        return False
    return finding.message.startswith((IS_MISSING, NO_SUCH_SETTING)) and finding.path[2] != "model_info"


def _without_followers(findings: list[Finding]) -> Iterator[Finding]:
    errors = [each for each in findings if each.severity is Severity.ERROR]
    wrong = {each.path for each in errors if not each.message.startswith(IS_MISSING)}
    strange = [each for each in findings if each.message.startswith(NO_SUCH_SETTING)]
    placeholders = {each.path for each in errors if each.message == PLACEHOLDER}
    for finding in findings:
        if finding.path in placeholders and finding.message != PLACEHOLDER:
            continue
        if finding.severity is not Severity.ERROR and _is_doubtful(finding.path, wrong):
            continue
        if finding.message.startswith(IS_MISSING) and _is_there_by_another_name(finding.path, strange):
            continue
        yield finding


def _is_doubtful(path: Path, wrong: Collection[Path]) -> bool:
    """Whether a value is wrong anyway; what is said of a key depends on the address beside it, too."""
    if path in wrong:
        return True
    beside = (each[-1] for each in wrong if path[-1:] == ("api_key",) and each[:-1] == path[:-1])
    return any(resembles(str(step), name) for step in beside for name in _ADDRESS)


def _is_there_by_another_name(path: Path, strange: Collection[Finding]) -> bool:
    """Whether a key beside the missing one is that one, misspelt; or does not belong into an entry at all."""
    beside = [each for each in strange if each.path[:-1] == path[:-1]]
    return any(resembles(str(each.path[-1]), str(path[-1])) or each.cure == FURTHER_LEFT for each in beside)
