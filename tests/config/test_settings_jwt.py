"""`general_settings.litellm_jwtauth`: which claims of a token count."""

from proxy_cli.config.load import load
from proxy_cli.config.settings_general import GeneralSettings


def test_what_is_not_said_is_as_with_litellm():
    """An administrator's scope has a name, and no claim counts by itself."""
    settings = GeneralSettings().litellm_jwtauth

    assert settings.admin_jwt_scope == "litellm_proxy_admin"
    assert settings.team_id_jwt_field is None
    assert settings.public_key_ttl == 600


def test_a_claim_that_nobody_knows_is_refused(tmp_path):
    """A mistyped name would let everybody in, or nobody."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "model_list:\n  - {model_name: m, litellm_params: {model: openai/m, api_key: k}}\n"
        "general_settings:\n  litellm_jwtauth: {team_id_field: team}\n"
    )

    (problem,) = load(path, {}).problems

    assert "general_settings.litellm_jwtauth.team_id_field: no such setting" in str(problem)
