"""Routes that settings name and that are not there are told at the start, with their place."""

import pytest

from proxy_cli.access.routes import GROUPS, matches
from proxy_cli.config.flags import Flags
from proxy_cli.server.admin_routes import joined
from proxy_cli.server.routes import ROUTES
from proxy_cli.server.setup import prepare

MODEL = "model_list: [{model_name: a, litellm_params: {model: openai/m, mock_response: x}}]\n"


def told(folder, text: str) -> list[str]:
    """What is said of a file, without its folder."""
    path = folder / "c.yaml"
    path.write_text(MODEL + text, encoding="utf-8")
    path.chmod(0o600)
    result = prepare(Flags(config=path, host="127.0.0.1"), {})
    assert result.setup is not None
    return [str(each).removeprefix(f"{folder}/") for each in result.problems]


def test_a_path_with_a_slip_is_told_with_what_was_meant(tmp_path):
    """It would close nothing."""
    found = told(tmp_path, "general_settings:\n  admin_only_routes: [/key/generate, /key/generat]\n")

    place = "c.yaml:3:38: warning: general_settings.admin_only_routes[1]: "
    assert found == [f"{place}no route is named '/key/generat', so this has no effect - did you mean '/key/generate'?"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("general_settings: {public_routes: [/nowhere/*]}", "GET /routes lists what there is"),
        ("litellm_settings: {public_routes: [/health/livelines]}", "did you mean '/health/liveliness'?"),
        ("general_settings: {allowed_routes: [llm_api_rutes, /v1/models]}", "did you mean 'llm_api_routes'?"),
        ("general_settings: {allowed_routes: [mcp_routes, /v1/models]}", "no route belongs to mcp_routes yet"),
    ],
)
def test_every_list_of_routes_is_looked_at(tmp_path, text, said):
    """Beginnings and groups, too."""
    (found,) = told(tmp_path, text)

    assert said in found


@pytest.mark.parametrize(
    "text",
    [
        "general_settings: {allowed_routes: [llm_api_routes, '/key/*', /v1/models, LiteLLMRoutes.info_routes]}",
        "general_settings: {public_routes: [/docs, /metrics, '/v1/models/{model}']}",
        "general_settings: {public_routes: []}",
    ],
)
def test_what_is_there_is_not_told(tmp_path, text):
    """Paths, beginnings, groups with and without LiteLLM's name before them."""
    assert told(tmp_path, text) == []


def test_the_groups_are_those_that_are_matched():
    """No group that has routes is missing from the names that are proposed, and the others have none."""
    table = joined(ROUTES)
    empty = {"anthropic_routes", "mapped_pass_through_routes", "passthrough_routes_wildcard", "mcp_routes"}

    assert {name for name in GROUPS if not any(matches(name, route) for route in table)} == empty
