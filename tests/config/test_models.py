"""Entries of `model_list`, made without a file."""

import pytest

from proxy_cli.config.models import Credential, ModelEntry, ModelInfo, ModelParams, SharedParams
from proxy_cli.config.reading import Unreadable


def params(**given):
    """Parameters of one model."""
    return ModelParams.model_validate({"model": "openai/a", **given})


def test_a_base_has_two_names():
    """`api_base` wins over `base_url`."""
    assert params(base_url="http://a/v1").base == "http://a/v1"
    assert params(base_url="http://a/v1", api_base="http://b/v1").base == "http://b/v1"
    assert params().base is None


def test_headers_are_joined():
    """`extra_headers` wins over `headers`."""
    headers = params(headers={"a": "1", "b": "2"}, extra_headers={"b": "3"}).all_headers

    assert {name: value.reveal() for name, value in headers.items()} == {"a": "1", "b": "3"}


def test_body_defaults_are_request_fields_and_what_nobody_knows():
    """And `extra_body` above both; prices and settings are none of them."""
    made = params(temperature=0.5, frob=1, rpm=5, input_cost_per_token=1, extra_body={"frob": 2, "b": [1]})

    assert made.body_defaults() == {"temperature": 0.5, "frob": 2, "b": [1]}
    assert made.rates == {"input_cost_per_token": 1}


def test_what_is_shown_holds_no_secret():
    """Keys, headers and the clouds' credentials are left out."""
    made = params(
        api_key="key-of-mine", extra_headers={"x": "key-of-mine"}, aws_secret_access_key="key-of-mine", rpm=3, n=2
    )

    assert made.public() == {"model": "openai/a", "rpm": 3, "n": 2}
    assert "key-of-mine" not in repr(made)


def test_an_address_of_ones_own_wins_over_one_from_a_credential():
    """Under either name."""
    below = SharedParams.model_validate({"api_base": "http://credential/v1", "api_key": "k", "temperature": 1, "n": 1})

    filled = params(base_url="http://own/v1", temperature=0).filled(below)

    assert filled.base == "http://own/v1"
    assert filled.api_key is not None
    assert filled.request == {"temperature": 0.0, "n": 1}


def test_a_credential_fills_in_what_the_clouds_need():
    """Its groups are joined like those of the defaults for all."""
    credential = Credential.model_validate(
        {"credential_name": "c", "credential_values": {"api_key": "k", "aws_region_name": "eu-1"}}
    )

    filled = params(aws_profile_name="p").filled(credential.credential_values)

    assert filled.cloud == {"aws_profile_name": "p", "aws_region_name": "eu-1"}


def test_model_info_keeps_everything():
    """What nobody knows is shown again, prices among the rest."""
    given = {"id": "a", "mode": "chat", "supports_vision": True, "input_cost_per_token": 0.1, "note": {"x": 1}}

    assert ModelInfo.model_validate(given).public() == given


def test_an_unknown_mode_is_refused_with_the_known_ones():
    """A slip in `mode` would send health checks astray."""
    with pytest.raises(Unreadable, match="did you mean 'embedding'"):
        ModelInfo.model_validate({"mode": "embeding"})


def test_an_entry_needs_a_name_and_a_model():
    """Both are said at once."""
    with pytest.raises(Unreadable) as caught:
        ModelEntry.model_validate({"litellm_params": {"timeout": 3}})

    assert [mistake.path for mistake in caught.value.mistakes] == [("model_name",), ("litellm_params", "model")]


def test_a_mirror_is_a_model_and_how_many_of_a_hundred():
    """It is shown as it is written."""
    params = ModelParams.model_validate({"model": "openai/m", "mirror": {"model": "b", "percent": "0.5"}})

    assert params.mirror is not None
    assert (params.mirror.model, params.mirror.percent) == ("b", 0.5)
    assert params.public()["mirror"] == {"model": "b", "percent": 0.5}


@pytest.mark.parametrize("mirror", [{"model": "b"}, {"percent": 5}, {"model": "b", "percent": 101}, "b"])
def test_a_mirror_that_leaves_something_open_is_refused(mirror):
    """Nobody would know how many copies go where."""
    with pytest.raises(Unreadable):
        ModelParams.model_validate({"model": "openai/m", "mirror": mirror})


def test_a_pattern_that_is_none_is_refused_at_start():
    """A request would only find out later."""
    with pytest.raises(Unreadable, match="not a regular expression"):
        ModelParams.model_validate({"model": "openai/m", "tag_regex": ["^ok$", "("]})


@pytest.mark.parametrize("own", [{"max_retries": 0}, {"num_retries": 0}, {"num_retries": 0, "max_retries": 5}])
@pytest.mark.parametrize("below", [{"max_retries": 7}, {"num_retries": 7}])
def test_tries_of_ones_own_win_over_the_defaults_for_all(own, below):
    """Under either name."""
    assert params(**own).filled(SharedParams.model_validate(below)).retries == 0
    assert params().filled(SharedParams.model_validate(below)).retries == 7
