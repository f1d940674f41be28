from dataclasses import replace

import pytest

from proxy_cli.callers import Caller, Role
from proxy_cli.errors import UnknownModel
from proxy_cli.routing.table import Alias, Table, captured
from proxy_cli.shapes import Backend, Deployment

BACKEND = Backend("http", "localhost", 20080)


def deployment(group, model="m", **more):
    return Deployment(
        id=more.pop("id", f"id-{group}"), group=group, model=model, provider="openai", backend=BACKEND, **more
    )


def test_an_exact_name_beats_a_wildcard():
    """The name itself wins over a pattern that also matches."""
    table = Table([deployment("openai/*", "*"), deployment("openai/gpt-4o", "exact")])

    assert [each.model for each in table.find("openai/gpt-4o")] == ["exact"]


def test_the_longest_wildcard_wins_and_hands_its_part_on():
    """Of several patterns the most specific answers, and `*` in the model takes what it matched."""
    table = Table([deployment("*", "any-*"), deployment("openai/*", "gw-*")])

    assert table.find("openai/gpt-4o")[0].model == "gw-gpt-4o"
    assert table.find("else")[0].model == "any-else"


def test_a_wildcard_is_not_found_by_its_own_pattern_text():
    """`openai/*` as a requested name is a name like any other: it matches, it is no group."""
    table = Table([deployment("openai/*", "*")])

    assert table.find("openai/*")[0].model == "*"


def test_deployments_of_one_name_are_found_together():
    """Several entries with one model_name form one group, in the order of the file."""
    table = Table([deployment("a", id="1"), deployment("b"), deployment("a", id="2")])

    assert [each.id for each in table.find("a")] == ["1", "2"]


def test_a_deployment_answers_to_its_id():
    """A client can address one deployment of a group directly."""
    table = Table([deployment("a", id="1"), deployment("a", id="2")])

    assert [each.id for each in table.find("2")] == ["2"]


def test_a_hidden_alias_resolves_but_is_not_listed():
    """Aliases stand for a group; a hidden one is neither listed nor suggested."""
    table = Table([deployment("a")], aliases={"shown": Alias("a"), "veiled": Alias("a", hidden=True)})

    assert table.find("veiled")[0].group == "a"
    assert table.names() == ["a", "shown"]


def test_an_alias_of_an_alias_stands_for_the_same():
    """However many there are in a row, and in whichever order they stand; a ring of them leads nowhere."""
    aliases = {"1": Alias("2"), "2": Alias("3"), "3": Alias("a"), "in": Alias("out"), "out": Alias("in")}
    table = Table([deployment("a")], aliases=aliases)

    assert [table.find(name)[0].group for name in "123"] == ["a", "a", "a"]
    assert table.group_of("1") == table.group_of("a")
    assert not table.knows("in")


def test_an_unknown_name_is_answered_with_the_near_ones():
    """A typo is met with what was probably meant."""
    table = Table([deployment("gpt-4o"), deployment("vicuna-13b")])

    with pytest.raises(UnknownModel, match=r"no model named 'gpt4o' is configured; did you mean 'gpt-4o'\?") as caught:
        table.find("gpt4o")

    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "model", "model_not_found")


def test_a_long_unknown_name_is_cut_in_the_message():
    """A name of a megabyte does not come back whole."""
    with pytest.raises(UnknownModel) as caught:
        Table([deployment("a")]).find("x" * 1_000_000)

    assert len(caught.value.message) < 300


def test_one_model_without_a_file_answers_to_every_name():
    """`--model` serves under any requested name."""
    table = Table([deployment("a")], any_name=True)

    assert table.find("whatever")[0].group == "a"


@pytest.mark.parametrize(
    ("pattern", "model", "name", "expected"),
    [
        ("openai/*", "*", "openai/gpt-4o", "gpt-4o"),
        ("a-*-b-*", "x-*-y-*", "a-1-b-2", "x-1-y-2"),
        ("*", "fixed", "any", "fixed"),
        ("p.*", "m.*", "p.日本", "m.日本"),
    ],
)
def test_what_a_star_matched_goes_into_the_model(pattern, model, name, expected):
    """Each `*` takes its own part; a model without one stays."""
    assert captured(pattern, model, name) == expected


def test_a_name_beyond_all_measure_is_neither_matched_nor_compared():
    """Wildcards would keep what it expands to; a comparison with known names takes the square of its length."""
    table = Table([deployment("*", "*"), deployment("gpt-4o")])
    name = "gpt-4o" * 100_000

    with pytest.raises(UnknownModel) as caught:
        table.find(name)

    assert caught.value.message == "the model's name is 600000 characters long; GET /v1/models lists the names"


@pytest.mark.parametrize(
    ("name", "by", "group", "alias_of"),
    [
        ("a", "name", "a", None),
        ("nick", "name", "a", "a"),
        ("id-a", "id", "a", None),
        ("openai/gpt-4o", "wildcard", "openai/*", None),
        ("gpt", "wildcard", "openai/*", "openai/gpt-4o"),
    ],
)
def test_how_a_name_is_found_can_be_told(name, by, group, alias_of):
    """By the same search that serves, with what an alias stands for and the pattern that matched."""
    table = Table(
        [deployment("a"), deployment("openai/*", "*")],
        aliases={"nick": Alias("a"), "gpt": Alias("openai/gpt-4o", hidden=True)},
    )

    resolution = table.resolve(name)

    assert resolution.found == table.find(name)
    assert (resolution.by, resolution.group, resolution.alias_of) == (by, group, alias_of)


def test_one_model_that_answers_to_every_name_is_told_as_such():
    """A name that nobody has is no wildcard's; a table without such a model refuses it."""
    assert Table([deployment("a")], any_name=True).resolve("anything").by == "any"
    with pytest.raises(UnknownModel):
        Table([deployment("a")]).resolve("anything")


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("a-*-b-*", "a-1-b-2", True),
        ("a-*-b-*", "a-b-2", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*x*x", "x", False),
        ("*x*x", "1x2x", True),
        ("*", "", True),
        ("*a*", "bab", True),
        ("*a*", "bb", False),
        ("a*", "a\nb", True),
    ],
)
def test_a_wildcard_fits_what_has_its_parts_in_their_order(pattern, name, fits):
    """Each `*` stands for anything, nothing too; no part is used twice."""
    assert Table([deployment(pattern)]).knows(name) is fits


@pytest.mark.timeout(10)
def test_a_name_made_to_nearly_fit_a_wildcard_is_told_from_it_in_one_walk():
    """Tried in every way it could fit, this one would hold up everybody for hours."""
    table = Table([deployment("a*-*-*-*-*x")])

    assert not table.knows("a" + "-" * 1000)


def test_of_many_names_only_those_that_begin_alike_are_compared_with_a_wrong_one():
    """A comparison takes long, and whoever mistypes a name is not to hold up everybody else."""
    table = Table([deployment(f"model-{number}") for number in range(500)] + [deployment("gpt-4o")])

    assert "did you mean 'gpt-4o'?" in str(_refused(table, "gpt-4oo"))
    assert "GET /v1/models lists the names" in str(_refused(table, "xgpt-4o"))


def _refused(table, name):
    with pytest.raises(UnknownModel) as caught:
        table.find(name)
    return caught.value


def test_a_deployment_of_a_team_is_that_teams_alone():
    """Others do not even learn that it is there; beside it the rest of the name is open."""
    shared, own = deployment("m"), replace(deployment("m", "theirs", id="own"), info={"team_id": "t"})
    alone = replace(deployment("secret"), info={"team_id": "t"})
    table = Table([shared, own, alone])
    member, other = Caller(role=Role.USER, team_id="t"), Caller(role=Role.USER, team_id="x")

    assert table.find("m", member) == table.find("m") == (shared, own)
    assert table.find("m", other) == (shared,)
    assert table.find("secret", member) == (alone,)
    with pytest.raises(UnknownModel):
        table.find("secret", other)
    assert [table.is_open_to(each, "secret") for each in (member, other)] == [True, False]
