"""Which provider a deployment's `model` means, and what the backend calls it.

A model's provider is its prefix, else `custom_llm_provider`, else with an `api_base` OpenAI's dialect, else what the
price table knows. There is no further guess: a request must not go to a host that nobody named.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from proxy_cli.providers.catalog import NOT_BUILT, ROWS, is_known

# Between Azure's prefix and a deployment's name may stand what kind of model it is; its address has no such part.
_AZURE_SERIES = ("o_series/", "gpt5_series/")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A provider that is built, and the backend's own name for the model."""

    provider: str
    model: str


def resolve(
    model: str,
    custom_llm_provider: str | None,
    api_base_given: bool,
    price_provider: Callable[[str], str | None],
) -> Resolved:
    """The provider and the backend's model name. Raises ValueError with a sentence that says what to do."""
    provider, name = _named(model, custom_llm_provider)
    if provider is None:
        provider = "openai" if api_base_given else price_provider(model)
    if provider is None:
        raise ValueError(_nobodys(model))
    if not name.strip():
        raise ValueError(f'model: "{model}" names no model after the provider; write {provider}/<model>')
    if provider not in ROWS:
        raise ValueError(_not_built(provider, name) if is_known(provider) else _unknown(provider))
    return Resolved(provider, _without_series(name) if provider == "azure" else name)


def _named(model: str, custom_llm_provider: str | None) -> tuple[str | None, str]:
    """The provider that the configuration names, and the rest of the name."""
    prefix, slash, rest = model.partition("/")
    if slash and is_known(prefix):
        return prefix, rest
    return custom_llm_provider or None, model


def _without_series(name: str) -> str:
    for series in _AZURE_SERIES:
        name = name.removeprefix(series)
    return name


def _not_built(provider: str, model: str) -> str:
    known = f'the provider "{provider}" is known, but not yet supported'
    base = NOT_BUILT.get(provider, "")
    if not base:
        return f"{known}; use a provider with an OpenAI-compatible endpoint as openai/<model> with its api_base"
    return f"{known}; meanwhile use its OpenAI-compatible endpoint: model: openai/{model} with api_base: {base}"


def _unknown(provider: str) -> str:
    return f'there is no provider "{provider}"{_near(provider)}; for any OpenAI-compatible server use openai/<model>'


def _nobodys(model: str) -> str:
    prefix, slash, _ = model.partition("/")
    if slash:
        return (
            f'no provider is called "{prefix}"{_near(prefix)}; for an OpenAI-compatible server '
            f"write openai/{model} and its api_base"
        )
    return (
        f'the model "{model}" belongs to no provider that is known by its name; write <provider>/{model}, '
        f"or openai/{model} with an api_base for an OpenAI-compatible server"
    )


def _near(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), [*ROWS, *NOT_BUILT], n=1)
    return f', did you mean "{near[0]}"?' if near else ""
