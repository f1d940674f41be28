"""Names that refer to models."""

from proxy_cli.config.problem import Severity
from proxy_cli.config.references import reference_checks
from proxy_cli.config.scalar import Scalar, kind_of


def tree(value):
    """Plain values as a file's tree."""
    if isinstance(value, dict):
        return {key: tree(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [tree(inner) for inner in value]
    return Scalar(value, False, kind_of(value))


def said(names, public=(), **sections):
    """Severity, last step and message of all that is said."""
    models = [{"model_name": name} for name in names]
    found = reference_checks(tree({"model_list": models, **sections}), public)
    return [(each.severity, each.path[-1], each.message) for each in found]


def test_names_ids_aliases_and_wildcards_are_known():
    """Whatever a caller may ask for, a setting may name."""
    router = {
        "model_group_alias": {"quick": "fast", "quicker": "quick", "wild": "openai/gpt-4o"},
        "fallbacks": [{"*": ["quick"]}, {"openai/x": ["outside"]}],
    }

    assert said(["fast", "openai/*"], ["outside"], router_settings=router) == []


def test_a_stand_in_that_leads_nowhere_is_an_error():
    """Every call would fail."""
    found = said(["fast"], general_settings={"completion_model": "fsat", "embedding_model": "fast"})

    assert [(severity, step) for severity, step, _ in found] == [(Severity.ERROR, "completion_model")]


def test_a_loop_of_aliases_is_said_once():
    """At its first alias, with the whole way round; an alias that only leads into it is not the loop."""
    router = {"model_group_alias": {"in": "a", "a": "b", "b": {"model": "c"}, "c": "a", "self": "self"}}

    assert [message for _, _, message in said(["x"], router_settings=router)] == [
        "this alias leads back to itself: a -> b -> c -> a",
        "this alias leads back to itself: self -> self",
    ]


def test_a_fallback_for_a_model_that_is_not_there_is_warned_of():
    """It is never used."""
    found = said(["fast", "slow"], litellm_settings={"context_window_fallbacks": [{"fats": ["slow", "fast"]}]})

    assert [(severity, step) for severity, step, _ in found] == [(Severity.WARNING, "fats")]


def test_a_short_chain_that_ends_is_fine():
    """One after the other, as it is meant."""
    router = {"fallbacks": [{"a": ["b", "c"]}, {"b": ["c"]}]}

    assert said(["a", "b", "c"], router_settings=router) == []


def test_a_ring_is_said_once_for_all_its_members():
    """However it is entered."""
    router = {"fallbacks": [{"a": ["b"]}, {"b": ["c"]}, {"c": ["a"]}]}

    found = said(["a", "b", "c"], router_settings=router)

    assert [(severity, message) for severity, _, message in found] == [
        (Severity.ERROR, "these fall back to each other: a -> b -> c -> a")
    ]


def test_a_ring_over_an_alias_is_one():
    """The same deployments would be asked again, by another name."""
    router = {
        "model_group_alias": {"x": "a", "y": "x", "z": "b"},
        "fallbacks": [{"a": ["y"]}, {"b": ["c"]}, {"c": ["z"]}],
    }

    found = said(["a", "b", "c"], router_settings=router)

    assert [(severity, message) for severity, _, message in found] == [
        (Severity.ERROR, "'a' falls back to itself"),
        (Severity.ERROR, "these fall back to each other: b -> c -> b"),
    ]


def test_a_credential_that_nobody_wrote_is_named_where_it_is_meant():
    """At the name, not at the model."""
    entry = {"litellm_params": {"litellm_credential_name": "shred"}}

    (found,) = reference_checks(tree({"model_list": [entry], "credential_list": [{"credential_name": "shared"}]}), ())

    assert found.path == ("model_list", 0, "litellm_params", "litellm_credential_name")
    assert found.cure == "did you mean 'shared'?"


def test_a_mirror_that_leads_nowhere_is_an_error():
    """Whether an entry names it, or the parameters of all."""
    entry = {"model_name": "a", "litellm_params": {"mirror": {"model": "shadwo", "percent": "5"}}}
    router = {"default_litellm_params": {"mirror": {"model": "nobody"}}}

    found = reference_checks(tree({"model_list": [entry, {"model_name": "shadow"}], "router_settings": router}), ())

    assert [(each.path[0], each.severity, each.cure) for each in found] == [
        ("model_list", Severity.ERROR, "did you mean 'shadow'?"),
        ("router_settings", Severity.ERROR, "known: a, shadow"),
    ]


def test_policies_and_longer_models_of_nobody_are_warned_of():
    """They do nothing: LiteLLM's own file may name models that this proxy does not serve."""
    router = {"model_group_retry_policy": {"fats": {"DefaultRetries": "1"}, "fast": {"DefaultRetries": "1"}}}
    litellm = {"context_window_fallback_dict": {"fast": "slow", "slow": "longer"}}

    found = said(["fast", "slow"], router_settings=router, litellm_settings=litellm)

    assert [(severity, step) for severity, step, _ in found] == [(Severity.WARNING, "fats"), (Severity.WARNING, "slow")]
    assert "no model 'longer'" in found[1][2]
