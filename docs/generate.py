"""Writes the tables of the documentation from the declarations that the program itself is made of: `make docs`.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; everything else on a page is written by hand.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from proxy_cli import errors
from proxy_cli.admin.table import ENDPOINTS
from proxy_cli.cli import COMMANDS
from proxy_cli.cli.options import OPTIONS, Option
from proxy_cli.config import models, schema, settings_general, settings_jwt, settings_litellm, settings_router
from proxy_cli.config.state import Section, State, settings
from proxy_cli.providers.catalog import ROWS
from proxy_cli.server.routes import ROUTES
from proxy_cli.telemetry.families import FAMILIES

PAGES: Final = Path(__file__).resolve().parent
_TABLE: Final = re.compile(r"(<!-- table: ([^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_DEFAULT_OF_FIELD: Final = "Default of the request field"
_SECTIONS: Final[dict[str, type[Section]]] = {
    "top level": schema.Config,
    "model_list": models.ModelEntry,
    "litellm_params": models.ModelParams,
    "model_info": models.ModelInfo,
    "credential_list": models.Credential,
    "litellm_settings": settings_litellm.LiteLLMSettings,
    "router_settings": settings_router.RouterSettings,
    "general_settings": settings_general.GeneralSettings,
    "litellm_jwtauth": settings_jwt.JwtAuth,
}
_ASKERS: Final = {
    "public": "anybody",
    "key": "every key",
    "self": "what is the caller's own",
    "viewer": "who sees everything",
    "admin": "a proxy_admin",
}


def filled(page: str) -> str:
    """A page with every table written anew. Raises KeyError for a table that nobody makes."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{_make(found[2])}\n{found[3]}", page)


def _make(name: str) -> str:
    if name.startswith("options "):
        return options_table(name.removeprefix("options "))
    if name.startswith("settings "):
        return settings_tables(_SECTIONS[name.removeprefix("settings ")])
    return _MAKERS[name]()


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def options_table(section: str) -> str:
    """The options of one section of the help page."""
    rows = [option for option in OPTIONS if option.section == section]
    if not rows:
        raise KeyError(section)
    return table(["Option", "Variable", "What it does"], map(_option_row, rows))


def _option_row(option: Option) -> tuple[str, str, str]:
    names = [f"`{name}`" for name in (option.short, option.flag) if name]
    meaning = option.help or (
        f"Does nothing: {option.unused}." if option.unused else "Ends at once: nothing to set up."
    )
    return ", ".join(names), _names(filter(None, [option.variable])), meaning


def settings_tables(section: type[Section]) -> str:
    """What a section takes: what is used, then what is not and why."""
    found = settings(section)
    parts = [table(["Setting", "Meaning"], ((f"`{key}`", _meaning(field)) for key, field in _plain(found)))]
    fields = [key for key, field in _of(found, State.USED) if (field.description or "").startswith(_DEFAULT_OF_FIELD)]
    if fields:
        parts.append(f"Defaults of request fields, which a request may override: {_names(fields)}.\n")
    if idle := [(f"`{key}`", str(_extra(field, "x-why"))) for key, field in _of(found, State.IGNORED)]:
        parts += ["Accepted, and doing nothing:\n", table(["Setting", "Why"], idle)]
    if later := [key for key, _ in _of(found, State.LATER)]:
        parts.append(f"Known, and not yet supported (a warning says so): {_names(later)}.\n")
    return "\n".join(parts)


def _plain(found: Any) -> Iterator[tuple[str, Any]]:
    for key, field in _of(found, State.USED):
        if not (field.description or "").startswith(_DEFAULT_OF_FIELD):
            yield key, field


def _of(found: Any, state: State) -> Iterator[tuple[str, Any]]:
    return ((key, field) for key, field in found.items() if _extra(field, "x-state") == state.value)


def _extra(field: Any, name: str) -> object:
    return (field.json_schema_extra or {}).get(name)


def _meaning(field: Any) -> str:
    words = [field.description or "See below."]
    if note := _extra(field, "x-note"):
        words.append(f"Note: {note}.")
    if values := _extra(field, "x-not-yet-supported-values"):
        words.append(f"Not yet: {_names(values)}.")
    return " ".join(words)


def _names(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def errors_table() -> str:
    """Every error by status."""
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.GatewayError)]
    shown = [kind for kind in found if kind not in {errors.BackendError, errors.StreamOptionsRefused}]
    rows = ((str(kind.status), f"`{kind.kind}`", f"`{kind.code or 'null'}`", _promise(kind)) for kind in shown)
    return table(["Status", "`type`", "`code`", "When"], sorted(rows))


def _promise(kind: type[errors.GatewayError]) -> str:
    if kind is errors.GatewayError:
        return "A mistake of ours; the log has the details under the request's id."
    return (kind.__doc__ or "").partition("\n")[0]


def endpoints_table(tag: str) -> str:
    """The paths of one kind; a model's paths once, without their prefixes."""
    if tag == "models":
        named = {route.operation: route.summary for route in ROUTES if route.operation}
        return table(["Path", "What it does"], ((f"`POST /v1/{path}`", summary) for path, summary in named.items()))
    rows = (
        (f"`{route.method} {route.path_template}`", "no" if route.public else "yes", route.summary)
        for route in ROUTES
        if route.tag == tag
    )
    return table(["Path", "Needs a key", "What it does"], rows)


def operators_table() -> str:
    """The paths for operators, those of one kind beside each other."""
    rows = ((f"`{each.method} {each.path}`", _ASKERS[each.access], each.summary) for each in ENDPOINTS)
    return table(["Path", "For", "What it does"], rows)


def commands_table() -> str:
    """The commands of the program."""
    return table(["Command", "What it does"], ((f"`llmproxy {name}`", meaning) for name, meaning in COMMANDS.items()))


def providers_table() -> str:
    """The services that are known by name."""
    rows = (
        (f"`{row.name}/`", row.base_url or "as `api_base` says", _names(row.key_env) or "none")
        for _, row in sorted(ROWS.items())
    )
    return table(["Prefix", "Address, unless `api_base` names another", "Variable of the key"], rows)


def metrics_table() -> str:
    """Every metric by name."""
    rows = ((f"`{each.name}`", each.kind, _names(each.labels), each.text) for each in sorted(FAMILIES))
    return table(["Metric", "Type", "Labels", "What it says"], rows)


_MAKERS: Final[dict[str, Callable[[], str]]] = {
    "errors": errors_table,
    "commands": commands_table,
    "providers": providers_table,
    "metrics": metrics_table,
    "endpoints models": lambda: endpoints_table("models"),
    "endpoints information": lambda: endpoints_table("information"),
    "endpoints health": lambda: endpoints_table("health"),
    "endpoints pages": lambda: endpoints_table("pages"),
    "endpoints operators": operators_table,
    "endpoints administration": lambda: endpoints_table("administration"),
}


def main() -> None:
    """Write the tables of every page anew."""
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text("utf-8")
        if (new := filled(text)) != text:
            page.write_text(new, "utf-8")


if __name__ == "__main__":
    main()
