"""Settings that hold fields of keys and users are looked at when the file is read."""

import pytest

from proxy_cli.config.flags import Flags
from proxy_cli.config.problem import Severity
from proxy_cli.server.setup import prepare

MODEL = "model_list: [{model_name: a, litellm_params: {model: openai/m, mock_response: x}}]\nlitellm_settings:\n  "


def told(folder, text: str) -> list[str]:
    """What is said of a file, without its folder."""
    path = folder / "c.yaml"
    path.write_text(MODEL + text, encoding="utf-8")
    path.chmod(0o600)
    result = prepare(Flags(config=path, host="127.0.0.1"), {})
    assert (result.setup is None) == any(each.severity is Severity.ERROR for each in result.problems)
    return [str(each).removeprefix(f"{folder}/") for each in result.problems]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "upperbound_key_generate_params: {max_bugdet: 3}",
            'upperbound_key_generate_params.max_bugdet: no such setting - did you mean "max_budget"?',
        ),
        (
            "upperbound_key_generate_params: {models: [a]}",
            "warning: litellm_settings.upperbound_key_generate_params.models: no such setting - known: max_budget, ",
        ),
        ("upperbound_key_generate_params: {duration: soon}", "duration is 'soon' - write a number and s, m, h, d"),
        ("upperbound_key_generate_params: {rpm_limit: many}", "a text is not taken here - give a whole number"),
        ("default_key_generate_params: {models: gpt}", "a text is not taken here - give a list or null"),
        ("default_key_generate_params: {rpm_limt: 3}", 'no such setting - did you mean "rpm_limit"?'),
        ("default_key_generate_params: {budget_duration: 5q}", "'5q' is no duration - write a number and one of"),
        ("default_internal_user_params: {user_role: king}", "'king' is not known - give one of internal_user, "),
        ("key_generation_settings: {personal: {}}", "no such setting - known: personal_key_generation, "),
        ("key_generation_settings: {team_key_generation: all}", "expected a mapping - write "),
        (
            "key_generation_settings: {personal_key_generation: {allowed_user_role: [x]}}",
            'allowed_user_role: no such setting - did you mean "allowed_user_roles"?',
        ),
        (
            "key_generation_settings: {personal_key_generation: {required_params: tags}}",
            "expected a list of names - write it as [one, other]",
        ),
        ("budget_duration: 5q", "litellm_settings.budget_duration: '5q' is no duration - write a number and one of"),
        ("internal_user_budget_duration: x", "litellm_settings.internal_user_budget_duration: 'x' is no duration"),
    ],
)
def test_what_is_no_field_of_a_key_or_a_user_is_an_error_with_its_place(tmp_path, text, said):
    """A bound that is misspelt would bound nothing."""
    found = told(tmp_path, text)

    assert len(found) == 1
    assert found[0].startswith("c.yaml:3:")
    assert said in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "upperbound_key_generate_params: {max_budget: 100, duration: 30d, rpm_limit: 5, tpm_limit: null}",
        "default_key_generate_params: {models: [usual], tpm_limit: 10, duration: 1mo, budget_duration: daily}",
        "default_internal_user_params: {user_role: internal_user, teams: [blue], available_teams: [red]}",
        "key_generation_settings: {team_key_generation: {allowed_team_member_roles: [admin]}}",
        "key_generation_settings: {personal_key_generation: {required_params: [tags], allowed_user_roles: null}}",
        "budget_duration: weekly",
    ],
)
def test_fields_of_keys_and_users_pass(tmp_path, text):
    """What a request may say, a setting may."""
    assert told(tmp_path, text) == []
