"""What a key may be given."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from proxy_cli.admin.key_rules import bounded, check_generation, with_defaults, within_maker
from proxy_cli.config.schema import Config
from proxy_cli.config.settings_litellm import LiteLLMSettings
from proxy_cli.errors import Forbidden, InvalidRequest
from proxy_cli.store.tables import KEYS
from tests.fakes.office import ADMIN, caller_of_key, office_over

ANNA = caller_of_key("sk-anna", user_id="anna")


def office(**settings):
    """An office without a store, under these settings."""
    return office_over(cast("Any", None), Config(litellm_settings=LiteLLMSettings(**settings)))


async def within(desk, parent: dict[str, Any], asked: dict[str, Any], *, is_new: bool = True) -> dict[str, Any]:
    """What is left of a question that a key with these fields asks."""

    def work(connection):
        connection.execute(insert(KEYS).values(digest=ANNA.key, user_id="anna", fields=parent))
        return within_maker(connection, ANNA, asked, now_us=0, is_new=is_new)

    return cast("dict[str, Any]", await desk.office.store.write(work))


def test_a_default_fills_what_is_missing_or_empty_and_names_nobody():
    """What a request says holds; ids and keys have no default."""
    here = office(default_key_generate_params={"models": ["m"], "rpm_limit": 1, "user_id": "x", "key": "sk-x"})

    assert with_defaults(here, {"models": [], "rpm_limit": 0}) == {"models": ["m"], "rpm_limit": 0}


def test_a_bound_is_the_limit_of_a_new_key_that_says_none_and_of_no_other():
    """A change that does not name it leaves it; one that takes it away gets the bound."""
    here = office(upperbound_key_generate_params={"rpm_limit": 5, "models": ["ignored"], "tpm_limit": None})

    assert bounded(here, {}, is_new=True) == {"rpm_limit": 5}
    assert bounded(here, {}, is_new=False) == {}
    assert bounded(here, {"rpm_limit": None}, is_new=False) == {"rpm_limit": 5}


@pytest.mark.parametrize("alias", ["team-a", None, ""])
def test_an_alias_of_the_operators_form_passes(alias):
    """A key without one has nothing to be looked at."""
    here = office(key_alias_pattern="team-[a-z]")

    assert bounded(here, {"key_alias": alias}, is_new=False) == {"key_alias": alias}


@pytest.mark.parametrize("alias", ["team-", "team-ab", "a team-a"])
def test_an_alias_of_another_form_is_refused(alias):
    """All of it must be of the form."""
    with pytest.raises(InvalidRequest, match="key_alias_pattern"):
        bounded(office(key_alias_pattern="team-[a-z]"), {"key_alias": alias}, is_new=True)


@given(st.integers(0, 100), st.integers(0, 100))
def test_nothing_over_a_bound_passes(value, bound):
    """And nothing below it is refused."""
    here = office(upperbound_key_generate_params={"tpm_limit": bound})

    try:
        found = bounded(here, {"tpm_limit": value}, is_new=True)["tpm_limit"]
    except InvalidRequest:
        found = None

    assert found == (value if value <= bound else None)


def test_a_bound_that_is_no_number_is_told_to_whoever_asks():
    """It is the file that is wrong."""
    with pytest.raises(InvalidRequest, match="mend the file"):
        bounded(office(upperbound_key_generate_params={"tpm_limit": "much"}), {"tpm_limit": 1}, is_new=True)


def test_settings_of_another_shape_are_no_rules():
    """Nobody is refused by a word that means nothing."""
    check_generation(office(key_generation_settings={"personal_key_generation": "all"}), ANNA, None, {})


async def test_a_proxy_admin_may_give_anything(desk):
    """Whatever its key has."""
    asked = {"models": ["x"], "max_budget": 9}

    found = await desk.office.store.read(
        lambda connection: within_maker(connection, ADMIN, asked, now_us=0, is_new=True)
    )

    assert found == asked


@pytest.mark.row("A-18")
async def test_an_all_embracing_maker_bounds_nothing(desk):
    """`*`, `all-proxy-models` and no list are all models."""
    assert await within(desk, {"models": ["all-proxy-models"]}, {"models": ["x"]}) == {"models": ["x"]}


@pytest.mark.row("A-18")
async def test_a_beginning_allows_what_begins_so(desk):
    """`openai/*` is a key to all of it, and to nothing else."""
    assert await within(desk, {"models": ["openai/*"]}, {"models": ["openai/x"]}) == {"models": ["openai/x"]}


@pytest.mark.row("A-18")
@pytest.mark.parametrize("models", [["*"], ["azure/x"], ["openai"], ["all-proxy-models"]])
async def test_what_does_not_begin_so_is_refused(desk, models):
    """However it is written."""
    with pytest.raises(Forbidden):
        await within(desk, {"models": ["openai/*"]}, {"models": models})


@pytest.mark.row("A-18")
@pytest.mark.parametrize("kind", ["management", "default", None])
async def test_a_key_for_models_makes_none_for_management(desk, kind):
    """What is left out becomes what the maker is."""
    asked = {} if kind is None else {"key_type": kind}

    if kind is None:
        assert await within(desk, {"key_type": "llm_api"}, asked) == {"key_type": "llm_api"}
    else:
        with pytest.raises(Forbidden):
            await within(desk, {"key_type": "llm_api"}, asked)
