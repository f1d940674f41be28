import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.callers import ANYONE
from proxy_cli.errors import Unauthenticated
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.tags import by_tags
from proxy_cli.shapes import Controls
from tests.routing.calls import call
from tests.routing.test_table import deployment

RULES = Rules(by_tags=True)
ALL = Rules(by_tags=True, any_tag=False)


def tagged(name, *tags, patterns=()):
    return deployment("a", id=name, tags=tags, tag_patterns=tuple(patterns))


def chosen(found, *tags, rules=RULES, agent=None):
    headers = (("user-agent", agent),) if agent is not None else ()
    asked = call(controls=Controls(tags=tags), headers=headers)
    return [each.id for each in by_tags(asked, found, rules)]


FREE, PAID, DEFAULT, BARE = tagged("free", "free"), tagged("paid", "paid"), tagged("default", "default"), tagged("bare")


def test_a_tag_asks_for_those_that_carry_it():
    """A request for `free` goes to the deployment for it."""
    assert chosen([FREE, PAID, BARE], "free") == ["free"]


def test_the_tags_of_a_key_and_its_team_count_as_the_requests_own():
    """A team's requests go to the deployments that are tagged for it, whatever they say themselves."""
    of_team = msgspec.structs.replace(ANYONE, tags=("paid",))
    plain = msgspec.structs.replace(call(), caller=of_team)
    excluding = msgspec.structs.replace(call(controls=Controls(tags=("!free",))), caller=of_team)

    assert [each.id for each in by_tags(plain, [FREE, PAID, DEFAULT], RULES)] == ["paid"]
    assert [each.id for each in by_tags(excluding, [FREE, PAID], RULES)] == ["paid"]
    with pytest.raises(Unauthenticated, match="'paid'"):
        by_tags(plain, [FREE], RULES)


def test_any_tag_is_enough():
    """One shared tag of several is enough, as long as nothing else is set."""
    assert chosen([FREE, PAID, BARE], "free", "paid", "else") == ["free", "paid"]


def test_all_tags_must_match_where_it_is_set_so():
    """With tag_filtering_match_any off, a deployment must carry every tag of the request."""
    both = tagged("both", "free", "fast", "large")

    assert chosen([FREE, both], "free", "fast", rules=ALL) == ["both"]


def test_a_request_without_tags_goes_to_the_default_ones():
    """Where some are for everybody, the others are for those who ask."""
    assert chosen([FREE, DEFAULT, BARE]) == ["default"]


def test_a_request_without_tags_goes_anywhere_where_nobody_is_the_default():
    """No default pool: the tags of deployments do not keep anybody out."""
    assert chosen([FREE, PAID, BARE]) == ["free", "paid", "bare"]


def test_a_tag_that_nobody_carries_goes_to_the_default_ones():
    """The default pool takes what asks for nothing that is here."""
    assert chosen([FREE, DEFAULT, BARE], "gold") == ["default"]


def test_a_tag_that_nobody_carries_is_refused_without_a_default():
    """401, with the tags asked for and those there are."""
    with pytest.raises(Unauthenticated, match=r"'gold'.*'free', 'paid'.*tag a deployment 'default'") as caught:
        chosen([FREE, PAID, BARE], "gold")

    assert caught.value.status == 401
    assert caught.value.code == "no_deployments_with_tag_routing"


def test_an_excluded_tag_leaves_the_others():
    """`!free` keeps the request from what carries it, untagged ones stay."""
    assert chosen([FREE, PAID, BARE], "!free") == ["paid", "bare"]


def test_an_exclusion_holds_among_the_default_ones():
    """A request that only excludes is one without tags: the default pool, less what it will not have."""
    spare = tagged("spare", "default", "free")

    assert chosen([DEFAULT, spare, PAID], "!free") == ["default"]


def test_excluding_all_default_ones_opens_no_others():
    """The deployments for those who ask are not reached by ruling out the ones for everybody."""
    with pytest.raises(Unauthenticated):
        chosen([DEFAULT, PAID], "!default")


def test_excluding_all_is_refused():
    """Nothing is left: the request is told so, and is not sent to what it excluded."""
    with pytest.raises(Unauthenticated, match="'!free', '!paid'"):
        chosen([FREE, PAID], "!free", "!paid")


def test_a_required_tag_must_be_there():
    """Every `&tag` must be carried, whatever else a deployment carries."""
    both = tagged("both", "free", "fast")

    assert chosen([FREE, PAID, both], "&free", "&fast") == ["both"]


def test_required_excluded_and_plain_tags_go_together():
    """Exclusions first, then what is required, then one of the plain ones."""
    one, two = tagged("one", "high", "east"), tagged("two", "high", "west")
    three, four = tagged("three", "low", "east"), tagged("four", "high", "east", "slow")

    assert chosen([one, two, three, four], "&high", "east", "north", "!slow") == ["one"]


def test_required_tags_reach_beyond_the_default_pool():
    """Who names what he needs gets it, also where it is not for everybody."""
    assert chosen([DEFAULT, PAID], "&paid") == ["paid"]


@pytest.mark.parametrize("agent", ["claude-code/1.2.3", "claude-code/2"])
def test_a_pattern_knows_the_client(agent):
    """tag_regex is matched with `User-Agent: ...`."""
    ours = tagged("ours", patterns=[r"^User-Agent: claude-code/"])

    assert chosen([ours, DEFAULT], agent=agent) == ["ours"]


@pytest.mark.parametrize("agent", [None, "curl/8"])
def test_a_client_that_no_pattern_knows_goes_to_the_others(agent):
    """A deployment for one kind of client is not for the rest, with or without a default pool."""
    ours = tagged("ours", patterns=[r"^User-Agent: claude-code/"])

    assert chosen([ours, DEFAULT], agent=agent) == ["default"]
    assert chosen([ours, BARE], agent=agent) == ["bare"]


def test_an_exclusion_beats_a_pattern():
    """What the request will not have is not brought back by its User-Agent."""
    ours = tagged("ours", "group", patterns=["claude-code"])

    assert chosen([ours, BARE], "!group", agent="claude-code/1") == ["bare"]


def test_a_pattern_narrows_no_required_tags():
    """All that carry what is required are equal, whichever client asks."""
    ours = tagged("ours", "high", patterns=["claude-code"])

    assert chosen([ours, tagged("other", "high")], "&high", agent="claude-code/1") == ["ours", "other"]


def test_a_pattern_does_not_stand_in_for_a_tag_where_all_must_match():
    """A strict rule is not got around by the name of a client."""
    ours = tagged("ours", "free", patterns=["claude-code"])

    with pytest.raises(Unauthenticated):
        chosen([ours, PAID], "gold", rules=ALL, agent="claude-code/1")


def test_a_pattern_that_is_none_matches_nothing():
    """A broken pattern neither matches nor breaks the request."""
    broken = tagged("broken", patterns=["(", "nobody"])

    assert chosen([broken, BARE], agent="curl/8 (") == ["bare"]


def test_a_prefix_is_taken_off():
    """With tag_routing_prefix a marked tag is read without its mark; one that nobody carries is for bookkeeping."""
    rules = Rules(by_tags=True, tag_prefix="route:")

    assert chosen([FREE, PAID, BARE], "feature:demo", "route:!free", rules=rules) == ["paid", "bare"]
    assert chosen([FREE, PAID, BARE], "feature:demo", "route:paid", rules=rules) == ["paid"]
    assert chosen([FREE, DEFAULT, BARE], "feature:demo", rules=rules) == ["default"]


def test_an_unmarked_tag_that_is_known_still_counts():
    """Setting a prefix changes nothing for the tags that were in use before."""
    rules = Rules(by_tags=True, tag_prefix="route:")

    assert chosen([FREE, PAID], "free", rules=rules) == ["free"]
    assert chosen([FREE, PAID], "!free", rules=rules) == ["paid"]


@pytest.mark.timeout(10)
def test_a_client_that_calls_itself_something_endless_is_known_by_how_it_begins():
    """Else a pattern with a few stars would search in eight kilobytes for minutes."""
    found = [tagged("cli", patterns=["cli/.*a.*a.*a.*x"]), DEFAULT]

    assert chosen(found, agent="cli/" + "a" * 8000 + "x") == ["default"]
    assert chosen(found, agent="cli/aaax" + " " * 8000) == ["cli"]


NAMES = st.sampled_from(["x", "y", "z", "default"])
MARKED = st.tuples(st.sampled_from(["", "!", "&"]), NAMES).map("".join)


@given(
    st.lists(st.lists(NAMES, max_size=3, unique=True), min_size=1, max_size=5),
    st.lists(MARKED, max_size=4),
    st.booleans(),
)
def test_what_is_excluded_or_lacks_what_is_required_never_comes_through(tag_lists, asked, any_tag):
    """An excluded tag is never there, a required one always, and somebody is left or it is a 401."""
    found = [tagged(str(index), *tags) for index, tags in enumerate(tag_lists)]
    try:
        left = chosen(found, *asked, rules=Rules(by_tags=True, any_tag=any_tag))
    except Unauthenticated:
        return

    assert left
    for name in left:
        tags = set(tag_lists[int(name)])
        assert not tags & {tag[1:] for tag in asked if tag.startswith("!")}
        assert tags >= {tag[1:] for tag in asked if tag.startswith("&")}
