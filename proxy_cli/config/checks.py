"""What only shows when settings are looked at together: names, ids, keys and addresses of the entries.

The checks look at the tree, not at the finished configuration, so that they speak up beside all other errors. What a
setting's own reader refuses is passed over here.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from proxy_cli.config.address import is_own, parse_base
from proxy_cli.config.privacy import shown
from proxy_cli.config.problem import Path, Severity, dotted
from proxy_cli.config.references import reference_checks
from proxy_cli.config.scalar import Scalar
from proxy_cli.config.variables import NOTHING, Finding
from proxy_cli.shapes import Json

_PLACEHOLDER = re.compile(
    r"<.*>|\[.*\]|\$\{?\w+\}?|\{\{.*\}\}"
    r"|.*(\.\.\.|…).*|(sk|hf|gsk|key)?[-_]?x{3,}|.*x{5,}.*|\*+"
    r"|(sk[-_])?(your|insert|enter|put|paste|replace|add)[-_ ].*|(change|replace|fill)[-_ ]?(me|this|it|in).*|todo|tbd"
    r"|(my[-_ ])?(api[-_ ]?key|secret|token)([-_ ]here)?",
    re.IGNORECASE,
)
_OPENAI: Final = "api.openai.com"
PLACEHOLDER: Final = "looks like a placeholder"
_NO_KEY: Final = frozenset({
    "none", "null", "nil", "empty", "dummy", "fake", "fake-key", "na", "n/a", "no-key", "not-needed", "unused",
    "not-used", "none-needed", "no-key-needed", "no-key-required", "anything", "any", "x", "-", "test", "0", "1",
})  # fmt: skip
_OFF: Final = frozenset({"false", "no", "off", "n"})
_OF_TLS: Final = frozenset({"ssl_verify", "ssl_certificate", "ssl_keyfile"})
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CALLS_OPENAI: Final = frozenset({"openai", "azure", "text-completion-openai"})


def cross_checks(values: Mapping[str, Json], public_names: Collection[str]) -> list[Finding]:
    """All that is wrong between settings."""
    models = list(entries(values))
    findings = [*_emptiness(values, models, public_names), *_same_names(models), *_same_ids(models)]
    for path, entry in models:
        params = entry.get("litellm_params")
        if isinstance(params, dict):
            findings += _entry_checks((*path, "litellm_params"), entry, params)
    findings += [*_other_keys(values), *_unchecked(values, models)]
    return [*findings, *reference_checks(values, public_names)]


def entries(values: Mapping[str, Json]) -> Iterator[tuple[Path, dict[str, Json]]]:
    """Each entry of `model_list` that is a mapping."""
    given = values.get("model_list")
    for index, entry in enumerate(given if isinstance(given, list) else []):
        if isinstance(entry, dict):
            yield ("model_list", index), entry


def text_of(tree: Json, *path: str) -> str | None:
    """The text at a path of keys, or None."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree.text if isinstance(tree, Scalar) and tree.kind not in ("bool", "null") else None


def _unchecked(values: Mapping[str, Json], models: list[tuple[Path, dict[str, Json]]]) -> Iterator[Finding]:
    """Where certificates are not checked, keys and prompts go to whoever answers."""
    tops: tuple[Path, ...] = (("litellm_settings",), ("router_settings", "default_litellm_params"))
    sections = [(path, _at(values, path)) for path in tops]
    sections += [((*path, "litellm_params"), entry.get("litellm_params")) for path, entry in models]
    for path, section in sections:
        given = section.get("ssl_verify") if isinstance(section, dict) and not _is_plain(section) else None
        if isinstance(given, Scalar) and given.text.strip().lower() in _OFF:
            message = "certificates are not checked, so keys and prompts may go to anybody who stands in between"
            yield Finding((*path, "ssl_verify"), message, "name the file of your CA instead", Severity.WARNING)


def _at(tree: Json, path: Path) -> Json:
    for step in path:
        tree = tree.get(step) if isinstance(tree, dict) else None
    return tree


def _emptiness(
    values: Mapping[str, Json], models: list[tuple[Path, dict[str, Json]]], public_names: Collection[str]
) -> Iterator[Finding]:
    given = values.get("model_list")
    nothing = given is None or given == [] or (isinstance(given, Scalar) and given.kind == "null")
    if nothing and not models and not public_names:
        cure = "add entries below model_list:, or start with --model"
        yield Finding(("model_list",), "there is no model to serve", cure, Severity.WARNING)


def _same_names(models: list[tuple[Path, dict[str, Json]]]) -> Iterator[Finding]:
    seen: dict[str, tuple[str, Path]] = {}
    for path, entry in models:
        name = text_of(entry, "model_name")
        if not name:
            continue
        first, where = seen.setdefault(unicodedata.normalize("NFC", name), (name, path))
        if first != name:
            message = f"same name twice: '{shown(name)}' looks like the one of {dotted(where)}, in other code points"
            yield Finding((*path, "model_name"), message, "write both in the same form (NFC)")


def _same_ids(models: list[tuple[Path, dict[str, Json]]]) -> Iterator[Finding]:
    seen: dict[str, Path] = {}
    for path, entry in models:
        identity = text_of(entry, "model_info", "id")
        if identity is None:
            continue
        first = seen.setdefault(identity, path)
        if first != path:
            message = f"the id '{shown(identity)}' is that of {dotted(first)} already"
            yield Finding((*path, "model_info", "id"), message, "give each deployment an id of its own, or none")


def _entry_checks(path: Path, entry: dict[str, Json], params: dict[str, Json]) -> Iterator[Finding]:
    if (problem := _key_problem(params.get("api_key"))) is not None:
        yield Finding((*path, "api_key"), *problem)
    elif text_of(params, "api_key") is not None and "mock_response" not in params:
        yield from _no_key_for_strangers((*path, "api_key"), params)
    one, other = text_of(params, "api_base"), text_of(params, "base_url")
    if one is not None and other is not None and one != other:
        message = "api_base is set too, to another address, and that one is used"
        yield Finding((*path, "base_url"), message, "keep one of the two", Severity.WARNING)
    yield from _header_names(path, params)
    yield from _no_path(path, params)
    yield from _no_tls(path, params)
    name, model = text_of(entry, "model_name"), text_of(params, "model")
    if name and model and "*" in model and "*" not in name:
        message = "the * has nothing to stand for: model_name has none"
        yield Finding((*path, "model"), message, "write the model's full name, or a * in model_name", Severity.WARNING)


def _no_tls(path: Path, params: dict[str, Json]) -> Iterator[Finding]:
    """What is said of certificates where there are none."""
    for key in sorted(_OF_TLS & params.keys()) if _is_plain(params) else ():
        message = "does nothing: the backend is spoken to in plain HTTP"
        yield Finding((*path, key), message, "write https:// in its address, or take this out", Severity.WARNING)


def _is_plain(params: dict[str, Json]) -> bool:
    base = text_of(params, "api_base") or text_of(params, "base_url") or ""
    return base.lower().startswith("http://")


def _no_path(path: Path, params: dict[str, Json]) -> Iterator[Finding]:
    """LiteLLM's most usual slip: servers that speak OpenAI's dialect mostly do so below `/v1` only."""
    key = "api_base" if text_of(params, "api_base") is not None else "base_url"
    provider, slash, _ = str(text_of(params, "model")).partition("/")
    try:
        backend, inner = parse_base(text_of(params, key) or "")
    except ValueError:
        return
    if inner or (slash and provider != "openai") or not (is_own(backend.host) or backend.host == _OPENAI):
        return
    message = f"has no path: a chat is sent to {backend}/chat/completions"
    severity = Severity.WARNING if backend.host == _OPENAI else Severity.NOTE
    yield Finding((*path, key), message, f"most servers answer below {backend}/v1", severity)


def _header_names(path: Path, params: dict[str, Json]) -> Iterator[Finding]:
    for section in ("headers", "extra_headers"):
        given = params.get(section)
        for name in given if isinstance(given, dict) else ():
            if not _HEADER_NAME.fullmatch(name):
                message = f"'{shown(name)}' cannot be the name of a header"
                yield Finding((*path, section, name), message, "write letters, digits and - only, as in x-team")


def _key_problem(value: Json) -> tuple[str, str, Severity] | None:
    """What is wrong with a key that was written, whatever it is for."""
    if value is NOTHING or not isinstance(value, Scalar):
        return None
    if value.kind == "null":
        return "has no value, and counts as absent", "take the line out, or write os.environ/NAME", Severity.WARNING
    if value.kind == "text" and _PLACEHOLDER.fullmatch(value.text.strip()):
        return PLACEHOLDER, "write the key, or name a variable: os.environ/NAME", Severity.ERROR
    return None


def _no_key_for_strangers(path: Path, params: dict[str, Json]) -> Iterator[Finding]:
    """Servers of one's own often take any key; a public one does not take `None`."""
    if str(text_of(params, "api_key")).strip().lower() not in _NO_KEY:
        return
    base = text_of(params, "api_base") or text_of(params, "base_url")
    if base is None:
        provider, slash, _ = str(text_of(params, "model")).partition("/")
        host = "the provider's own host" if not slash or provider in _CALLS_OPENAI else None
    else:
        host = _public_host(base)
    if host is not None:
        message = f"'{text_of(params, 'api_key')}' looks like no key, and goes to {host}"
        yield Finding(path, message, "write the key, or name a variable: os.environ/NAME", Severity.WARNING)


def _public_host(base: str) -> str | None:
    try:
        host = parse_base(base)[0].host
    except ValueError:
        return None
    return None if is_own(host) else host


def _other_keys(values: Mapping[str, Json]) -> Iterator[Finding]:
    general = values.get("general_settings")
    if isinstance(general, dict) and (problem := _key_problem(general.get("master_key"))) is not None:
        yield Finding(("general_settings", "master_key"), *problem)
    given = values.get("credential_list")
    for index, entry in enumerate(given if isinstance(given, list) else []):
        inner = entry.get("credential_values") if isinstance(entry, dict) else None
        if isinstance(inner, dict) and (problem := _key_problem(inner.get("api_key"))) is not None:
            yield Finding(("credential_list", index, "credential_values", "api_key"), *problem)
