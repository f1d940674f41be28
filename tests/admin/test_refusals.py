"""What is said of a body that an endpoint cannot take."""

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import UNSET, Meta, UnsetType

from proxy_cli.admin.base import Count, Flag, Id, Names, Usd, decoded
from proxy_cli.errors import Unprocessable


class Member(msgspec.Struct):
    role: Literal["admin", "user"]
    user_id: str


class Body(msgspec.Struct):
    role: Literal["king", "queen"] | UnsetType | None = UNSET
    member: Member | list[Member] | UnsetType = UNSET
    name: Id = UNSET
    max_budget: Usd = UNSET
    rpm_limit: Count = UNSET
    models: Names = UNSET
    blocked: Flag = UNSET
    several: Annotated[list[str], Meta(max_length=1)] | UnsetType = UNSET


@pytest.mark.parametrize(
    ("data", "field", "sentence"),
    [
        (b'{"role": "knave"}', "role", "role: 'knave' is not known; give one of king, queen"),
        (
            b'{"member": {"role": "boss", "user_id": "a"}}',
            "member.role",
            "member.role: 'boss' is not known; give one of admin, user",
        ),
        (
            b'{"member": [{"role": "boss", "user_id": "a"}]}',
            "member[0].role",
            "member[0].role: 'boss' is not known; give one of admin, user",
        ),
        (b'{"member": {"role": "user"}}', "member.user_id", "member.user_id is missing; send it"),
        (b'{"max_budget": "three"}', "max_budget", "max_budget: a text is not taken here; give a number or null"),
        (b'{"models": "gpt"}', "models", "models: a text is not taken here; give a list or null"),
        (b'{"max_budget": -1}', "max_budget", "max_budget: give a number of 0 or more"),
        (b'{"max_budget": 1e12}', "max_budget", "max_budget: give a number of 9000000000 or less"),
        (b'{"name": "%s"}' % (b"x" * 300), "name", "name: give at most 256 characters"),
        (b'{"several": ["a", "b"]}', "several", "several: give at most 1 entries"),
    ],
)
def test_a_refusal_names_the_field_and_what_would_be_right(data, field, sentence):
    """Whoever reads it needs no other page."""
    with pytest.raises(Unprocessable) as refused:
        decoded(data, Body)

    assert refused.value.message == sentence
    assert refused.value.param == field


@pytest.mark.parametrize(
    ("sent", "meant"),
    [("max_bugdet", "max_budget"), ("rpm_limt", "rpm_limit"), ("model", "models"), ("bloked", "blocked")],
)
def test_a_limit_that_is_misspelt_is_refused(sent, meant):
    """A key whose budget was misspelt would be a key without a budget."""
    with pytest.raises(Unprocessable, match=f"there is no field '{sent}'; did you mean '{meant}'"):
        decoded(msgspec.json.encode({sent: 1}), Body)


@pytest.mark.parametrize("sent", ["nickname", "nam", "tpd_limit", "budget_note", "x" * 1000, ""])
def test_other_fields_that_nobody_knows_pass(sent):
    """LiteLLM's clients send more fields than anybody reads."""
    assert decoded(msgspec.json.encode({sent: 1}), Body)[1] == {sent: 1}
