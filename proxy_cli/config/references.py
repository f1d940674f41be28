"""Names that refer to models: aliases, fallbacks and the models that stand for others.

A name that leads nowhere is an error with the one that was likely meant. An alias that leads back to itself never
ends. Fallbacks that lead back are said: when they run, no model is asked twice for one call.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from proxy_cli.config.privacy import shown
from proxy_cli.config.problem import Path, Severity, did_you_mean
from proxy_cli.config.scalar import Scalar
from proxy_cli.config.variables import Finding
from proxy_cli.shapes import Json

_KINDS: Final = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_STAND_INS: Final = ("completion_model", "embedding_model", "image_generation_model", "moderation_model")
_LONGEST_CHAIN: Final = 5  # as many names as are asked in turn for one call
_MOST_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class _Reference:
    path: Path
    name: str


def reference_checks(values: Mapping[str, Json], public_names: Collection[str]) -> Iterator[Finding]:
    """All that is wrong with names of models."""
    aliases = {str(reference.path[2]): reference for reference in _aliases(values)}
    known = {*_served(values), *public_names}
    is_known = _matcher({*known, *aliases})
    yield from _alias_loops(aliases)
    for reference in aliases.values():
        yield from _unknown(reference, is_known, known, "an alias")
    general = values.get("general_settings")
    for reference in _texts(general, ("general_settings",), _STAND_INS):
        yield from _unknown(reference, is_known, known, f"{reference.path[-1]}")
    yield from _credentials(values)
    for reference in _mirrors(values):
        yield from _unknown(reference, is_known, known, "a mirror")
    yield from _names_without_models(values, is_known, known)
    for section in ("router_settings", "litellm_settings"):
        yield from _fallbacks(values.get(section), (section,), is_known, known, aliases)


def _credentials(values: Mapping[str, Json]) -> Iterator[Finding]:
    """Entries of `model_list` that name a credential there is none of."""
    known = {each.name for each in _within(values, "credential_list", (), "credential_name")}
    for reference in _within(values, "model_list", ("litellm_params",), "litellm_credential_name"):
        if reference.name not in known:
            near = did_you_mean(reference.name, known)
            listed = ", ".join(shown(name) for name in sorted(known)[:_MOST_LISTED])
            cure = f"did you mean '{shown(near)}'?" if near else f"known: {listed or 'none; add a credential_list'}"
            yield Finding(reference.path, f"no entry of credential_list is named '{shown(reference.name)}'", cure)


def _mirrors(values: Mapping[str, Json]) -> Iterator[_Reference]:
    """The names that copies of calls go to."""
    yield from _within(values, "model_list", ("litellm_params", "mirror"), "model")
    router = values.get("router_settings")
    params = router.get("default_litellm_params") if isinstance(router, dict) else None
    mirror = params.get("mirror") if isinstance(params, dict) else None
    yield from _texts(mirror, ("router_settings", "default_litellm_params", "mirror"), ("model",))


def _names_without_models(
    values: Mapping[str, Json], is_known: Callable[[str], bool], known: Collection[str]
) -> Iterator[Finding]:
    """What is said of names that nobody may ask for, or by which nothing is found: it does nothing."""
    for path in (("router_settings", "model_group_retry_policy"), ("litellm_settings", "context_window_fallback_dict")):
        section = values.get(path[0])
        given = section.get(path[1]) if isinstance(section, dict) else None
        for name, value in given.items() if isinstance(given, dict) else ():
            named = (name, value.text) if isinstance(value, Scalar) else (name,)
            if (missing := next((each for each in named if not is_known(each)), None)) is not None:
                near = did_you_mean(missing, known)
                cure = f"did you mean '{shown(near)}'?" if near else "take it out"
                message = f"does nothing: there is no model '{shown(missing)}'"
                yield Finding((*path, name), message, cure, Severity.WARNING)


def _within(values: Mapping[str, Json], section: str, inner: tuple[str, ...], key: str) -> Iterator[_Reference]:
    """The texts under one key of each entry of a list."""
    given = values.get(section)
    for index, entry in enumerate(given if isinstance(given, list) else []):
        holder = entry
        for step in inner:
            holder = holder.get(step) if isinstance(holder, dict) else None
        yield from _texts(holder, (section, index, *inner), (key,))


def _served(values: Mapping[str, Json]) -> Iterator[str]:
    given = values.get("model_list")
    for entry in given if isinstance(given, list) else []:
        if not isinstance(entry, dict):
            continue
        if isinstance(name := entry.get("model_name"), Scalar):
            yield name.text
        info = entry.get("model_info")
        if isinstance(info, dict) and isinstance(identity := info.get("id"), Scalar):
            yield identity.text


def _aliases(values: Mapping[str, Json]) -> Iterator[_Reference]:
    router = values.get("router_settings")
    given = router.get("model_group_alias") if isinstance(router, dict) else None
    for alias, target in given.items() if isinstance(given, dict) else ():
        path: Path = ("router_settings", "model_group_alias", alias)
        if isinstance(target, dict):
            yield from _texts(target, path, ("model",))
        else:
            yield from _texts(given, path[:-1], (alias,))


def _texts(section: Json, path: Path, keys: Collection[str]) -> Iterator[_Reference]:
    for key in keys if isinstance(section, dict) else ():
        value = section.get(key)
        if isinstance(value, Scalar) and value.kind not in ("bool", "null") and value.text:
            yield _Reference((*path, key), value.text)


def _matcher(known: Collection[str]) -> Callable[[str], bool]:
    """Whether a name is served: as it is, or by a wildcard."""
    patterns = [re.compile(".*".join(map(re.escape, name.split("*"))), re.DOTALL) for name in known if "*" in name]
    return lambda name: name in known or any(pattern.fullmatch(name) for pattern in patterns)


def _unknown(
    reference: _Reference, is_known: Callable[[str], bool], known: Collection[str], what: str
) -> Iterator[Finding]:
    if is_known(reference.name):
        return
    near = did_you_mean(reference.name, known)
    listed = ", ".join(shown(name) for name in sorted(known)[:_MOST_LISTED])
    cure = f"did you mean '{shown(near)}'?" if near else f"known: {listed or 'no model at all'}"
    yield Finding(reference.path, f"{what} names '{shown(reference.name)}', and there is no such model", cure)


def _alias_loops(aliases: Mapping[str, _Reference]) -> Iterator[Finding]:
    reported: set[str] = set()
    for start in aliases:
        walked = [start]
        while (step := aliases.get(walked[-1])) is not None and step.name not in walked:
            walked.append(step.name)
        if step is not None and step.name == start and start not in reported:
            reported |= set(walked)
            chain = " -> ".join(shown(name) for name in (*walked, start))
            yield Finding(aliases[start].path, f"this alias leads back to itself: {chain}", "let one name a model")


def _fallbacks(
    section: Json,
    path: Path,
    is_known: Callable[[str], bool],
    known: Collection[str],
    aliases: Mapping[str, _Reference],
) -> Iterator[Finding]:
    if not isinstance(section, dict):
        return
    for kind in _KINDS:
        steps = list(_fallback_steps(section.get(kind), (*path, kind)))
        for source, reference in steps:
            yield from _unknown(reference, is_known, known, f"the fallback of '{shown(source)}'")
        for source in {source: None for source, _ in steps if source != "*" and not is_known(source)}:
            first = next(reference for name, reference in steps if name == source)
            near = did_you_mean(source, known)
            cure = f"did you mean '{shown(near)}'?" if near else "take it out"
            message = f"a fallback for '{shown(source)}', and there is no such model"
            yield Finding(first.path[:-1], message, cure, Severity.WARNING)
        # A ring over an alias is one too: the same deployments would be asked again.
        yield from _fallback_loops([(_meant(source, aliases), _real(each, aliases)) for source, each in steps])
    given = section.get("default_fallbacks")
    for reference in _listed(given, (*path, "default_fallbacks")):
        yield from _unknown(reference, is_known, known, "a fallback")


def _fallback_steps(given: Json, path: Path) -> Iterator[tuple[str, _Reference]]:
    for index, step in enumerate(given if isinstance(given, list) else []):
        for source, targets in step.items() if isinstance(step, dict) else ():
            for reference in _listed(targets, (*path, index, source)):
                yield source, reference


def _listed(given: Json, path: Path) -> Iterator[_Reference]:
    for index, target in enumerate(given if isinstance(given, list) else []):
        name = target.get("model") if isinstance(target, dict) else target
        if isinstance(name, Scalar) and name.kind not in ("bool", "null") and name.text:
            yield _Reference((*path, index), name.text)


def _meant(name: str, aliases: Mapping[str, _Reference]) -> str:
    """What a name stands for in the end."""
    passed: set[str] = set()
    while name in aliases and name not in passed:
        passed.add(name)
        name = aliases[name].name
    return name


def _real(reference: _Reference, aliases: Mapping[str, _Reference]) -> _Reference:
    return _Reference(reference.path, _meant(reference.name, aliases))


def _fallback_loops(steps: list[tuple[str, _Reference]]) -> Iterator[Finding]:
    """A ring of fallbacks is an error, a long chain is worth a word."""
    onward: dict[str, list[_Reference]] = {}
    for source, reference in steps:
        onward.setdefault(source, []).append(reference)
    reported: set[str] = set()
    for source, references in onward.items():
        for reference in references:
            if reference.name == source:
                yield Finding(reference.path, f"'{shown(source)}' falls back to itself", "name another model")
        if source in reported:
            continue
        chain = _longest_walk(source, onward)
        reported |= set(chain)
        names = " -> ".join(shown(name) for name in chain[: _LONGEST_CHAIN + 2])
        if len(chain) > 2 and chain[-1] == source:
            message = f"these fall back to each other: {names}"
            yield Finding(references[0].path[:-1], message, "let the last one fall back to nothing")
        elif len(chain) - 1 > _LONGEST_CHAIN:
            message = f"a chain of {len(chain) - 1} fallbacks: {names} ...; at most {_LONGEST_CHAIN} are asked in turn"
            yield Finding(references[0].path[:-1], message, "name the best ones in one list", Severity.WARNING)


def _longest_walk(source: str, onward: Mapping[str, list[_Reference]]) -> list[str]:
    """One walk along the fallbacks until it ends or comes back; first names first, each name once."""
    walked = [source]
    while walked[-1] in onward:
        further = [each.name for each in onward[walked[-1]] if each.name not in walked[1:] and each.name != walked[-1]]
        if not further:
            break
        walked.append(source if source in further and len(walked) > 1 else further[0])
        if walked[-1] == source:
            break
    return walked
