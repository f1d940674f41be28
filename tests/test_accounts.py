"""A call's account: reserved before it is sent, in the journal with its first attempt, closed once whatever happens."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from proxy_cli.access.limits import Left
from proxy_cli.accounts import Accounts
from proxy_cli.callers import Bounds, Caller, Role, Scope
from proxy_cli.errors import BudgetExceeded
from proxy_cli.ledger.row import Row, State
from proxy_cli.routing.table import Alias, Table
from proxy_cli.shapes import Call, Controls, Operation, Record, Target, Usage
from tests.routing.test_table import deployment

KEY = Scope(kind="key", id="abc", name="app", max_nano=1_000)
CALLER = Caller(role=Role.USER, key="abc", key_alias="app", user_id="u", team_id="t", scopes=(KEY,), tags=("k",))
PRICES = {
    "input_cost_per_token": 1e-6,
    "output_cost_per_token": 2e-6,
    "input_cost_per_token_priority": 2e-6,
    "output_cost_per_token_priority": 4e-6,
}
USAGE = Usage(prompt_tokens=5, completion_tokens=7, cached_tokens=2)


@dataclass
class Ticket:
    """What was taken, and what was said of it."""

    taken: dict[str, Any]
    said: list[tuple[Any, ...]] = field(default_factory=list)
    reserved_nano: int = 3
    charges: tuple[tuple[str, str, int], ...] = (("key", "abc", 0),)

    def settle(self, cost_nano: int, tokens: int) -> None:
        self.said.append(("settle", cost_nano, tokens))

    def left(self):
        return [Left(KEY, 3, None, 1, 7_000)]

    def void(self) -> None:
        self.said.append(("void",))


@dataclass
class House:
    """Limits, journal and store of a test, which keep what they are told."""

    unknown: set[Scope] = field(default_factory=set)
    tickets: list[Ticket] = field(default_factory=list)
    intents: list[Row] = field(default_factory=list)
    settled: list[Row] = field(default_factory=list)
    more: tuple[Scope, ...] = ()
    refuses: bool = False
    bounds: Bounds | None = None
    table: Table = field(
        default_factory=lambda: Table([deployment("m", rates=PRICES), deployment("m", "second", rates=PRICES)])
    )

    def missing(self, scopes):
        return [each for each in scopes if each in self.unknown]

    def take(self, scopes, *, nano, is_bound, tokens):
        if self.refuses:
            raise BudgetExceeded("spent")
        ticket = Ticket({"scopes": scopes, "nano": nano, "is_bound": is_bound, "tokens": tokens})
        self.tickets.append(ticket)
        return ticket

    def intent(self, row):
        self.intents.append(msgspec.structs.replace(row))

    def settle(self, row):
        self.settled.append(msgspec.structs.replace(row))

    def known(self, caller, call):
        return ("eve", self.more, self.bounds)

    async def load(self, scopes_or_caller, call=None):
        if call is not None:
            return ("eve", self.more, self.bounds)
        self.unknown.clear()
        return None

    def accounts(self) -> Accounts:
        return Accounts(
            limits=self,
            journal=lambda: self,
            extras=self,
            load=self.load,
            table=self.table,
            clock=lambda: 100.0,
            wall=lambda: 1_000_100.0,
        )


def call(caller: Caller = CALLER, **more: Any) -> Call:
    fields = {"messages": [{"role": "user", "content": "x" * 400}], **more.pop("fields", {})}
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    given = {"request_id": "r", "operation": Operation.CHAT, "model": "m", "body": b"{}", "received_s": 99.0, **more}
    return Call(fields=raw, caller=caller, **given)


def opened(house: House, **more: Any) -> Call:
    made = house.accounts().open_now(call(**more))
    assert made is not None
    assert made.account is not None
    return made


def test_what_is_reserved_is_the_prompt_and_the_longest_answer():
    """The dearest of the deployments, and certain only where the caller has set a bound."""
    house = House()

    opened(house, fields={"max_tokens": 10})
    opened(house)

    bound, free = house.tickets
    assert bound.taken["is_bound"]
    assert bound.taken["scopes"] == (KEY,)
    assert bound.taken["nano"] == (bound.taken["tokens"] - 10) * 1000 + 10 * 2000
    assert not free.taken["is_bound"]
    assert free.taken["tokens"] == bound.taken["tokens"] - 10 + 1024


def test_what_is_reserved_is_for_all_answers_that_are_asked_for():
    """Each of them may be as long as the bound."""
    house = House()

    opened(house, fields={"max_tokens": 10})
    opened(house, fields={"max_tokens": 10, "n": 3})

    one, three = (ticket.taken for ticket in house.tickets)
    assert (three["tokens"] - one["tokens"], three["nano"] - one["nano"]) == (20, 20 * 2000)


def test_what_is_reserved_is_at_the_tier_that_is_asked_for():
    """Twice the money for the same tokens."""
    house = House()

    opened(house, fields={"max_tokens": 10})
    opened(house, fields={"max_tokens": 10, "service_tier": "priority"})

    usual, dear = (ticket.taken for ticket in house.tickets)
    assert (dear["tokens"], dear["nano"]) == (usual["tokens"], 2 * usual["nano"])


def test_nothing_is_estimated_where_nothing_is_limited_by_it():
    """A limit of requests needs no tokens."""
    house = House()

    opened(house, caller=Caller(role=Role.USER, key="abc", scopes=(Scope(kind="key", id="abc", rpm=3),)))

    assert (house.tickets[0].taken["nano"], house.tickets[0].taken["tokens"]) == (0, 0)


def test_limits_of_the_model_and_of_the_end_user_count_too():
    """Beside the caller's own."""
    of_model, of_user = Scope(kind="key_model", id="abc/m", rpm=1), Scope(kind="end_user", id="eve")
    house = House(more=(of_user,))

    opened(house, caller=msgspec.structs.replace(CALLER, model_scopes={"m": (of_model,)}))

    assert house.tickets[0].taken["scopes"] == (KEY, of_model, of_user)


@pytest.mark.row("B-05")
@pytest.mark.parametrize("name", ["other", "id-m"])
def test_limits_of_a_model_hold_by_whatever_name_it_is_asked_for(name):
    """An alias and a deployment's id are ways around nothing."""
    of_model = Scope(kind="key_model", id="abc/m", rpm=1)
    house = House(table=Table([deployment("m", rates=PRICES)], aliases={"other": Alias("m")}))

    opened(house, caller=msgspec.structs.replace(CALLER, model_scopes={"m": (of_model,)}), model=name)

    assert house.tickets[0].taken["scopes"] == (KEY, of_model)


@pytest.mark.row("B-03")
def test_a_bound_that_no_backend_heeds_is_none():
    """Of two bounds the wider is reserved for; the name of another operation bounds nothing."""
    house = House()

    opened(house, fields={"max_completion_tokens": 1, "max_tokens": 5000})
    opened(house, fields={"max_output_tokens": 1})

    assert house.tickets[0].taken["nano"] > 5000 * 2000
    assert not house.tickets[1].taken["is_bound"]


@pytest.mark.row("B-03")
def test_a_fallback_that_the_caller_names_is_reserved_for():
    """It may be dearer, and may have a bound of its own."""
    dear = {name: 10 * price for name, price in PRICES.items()}
    house = House(table=Table([deployment("m", rates=PRICES), deployment("dear", rates=dear)]))
    longer = Target("dear", {"max_tokens": msgspec.Raw(b"9000")})

    opened(house, fields={"max_tokens": 1}, controls=Controls(fallbacks=(longer, Target("nowhere"))))

    assert house.tickets[0].taken["nano"] > 9000 * 20_000


@pytest.mark.row("B-03")
def test_a_prompt_that_looks_like_a_picture_is_reserved_for_as_text():
    """Else letters without a blank would cost as little as a picture."""
    house = House()

    opened(house, fields={"messages": [{"role": "user", "content": "A" * 100_000}], "max_tokens": 1})

    assert house.tickets[0].taken["tokens"] >= 25_000


async def test_what_is_not_known_yet_is_loaded_first():
    """`open_now` leaves it to `open`."""
    house = House(unknown={KEY})
    accounts = house.accounts()

    assert accounts.open_now(call()) is None
    assert (await accounts.open(call())).account is not None


def test_what_is_left_of_limits_is_told():
    """By LiteLLM's names, in lines of headers; a limit that is not there is not told."""
    account = opened(House()).account
    assert account is not None

    assert account.told().splitlines() == [
        "x-litellm-key-max-budget: 1e-06",
        "x-ratelimit-api_key-remaining-requests: 3",
        "x-ratelimit-api_key-remaining-max_parallel_requests: 1",
        "x-litellm-key-spend: 7e-06",
    ]


def test_a_refusal_leaves_nothing_behind():
    """No row, no ticket."""
    house = House(refuses=True)

    with pytest.raises(BudgetExceeded):
        house.accounts().open_now(call())

    assert not house.intents


def test_the_first_attempt_is_an_intent_and_the_end_one_settled_row():
    """With everything that is known of the call; a second attempt adds nothing."""
    house = House()
    made = opened(house, controls=Controls(tags=("t", "k")), fields={"metadata": {"session_id": "s", "a": 1}})
    account = made.account
    assert account is not None
    first, second = deployment("m"), deployment("m", "second")
    record = Record(request_id="r", route="/", status=200, attempts=2, waited_s=0.5, call_id="c", answer_id="chatcmpl")

    account.begin(first)
    account.begin(second)
    account.settle(second, USAGE, "provider", 19, record)
    account.settle(second, USAGE, "provider", 19, record)
    account.close(record)

    assert [(row.request_id, row.state, row.reserved_nano) for row in house.intents] == [("r", State.UNKNOWN, 3)]
    (row,) = house.settled
    assert (row.state, row.cost_nano, row.prompt_tokens, row.completion_tokens) == (State.SETTLED, 19, 5, 7)
    assert (row.cached_tokens, row.usage_source, row.model_id) == (2, "provider", second.id)
    assert (row.key, row.user_id, row.team_id, row.end_user) == ("abc", "u", "t", "eve")
    assert (row.tags, row.session_id, row.metadata) == (("k", "t"), "s", {"session_id": "s", "a": 1})
    assert (row.started_at, row.ended_at, row.waited_us) == (1_000_099_000_000, 1_000_100_000_000, 500_000)
    assert (row.call_id, row.answer_id, row.attempts) == ("c", "chatcmpl", 2)
    assert row.charges == (("key", "abc", 0),)
    assert house.tickets[0].said == [("settle", 19, 12)]


def test_a_call_that_never_reached_a_backend_is_void():
    """All that was taken is given back, and there is no row."""
    house = House()
    made = opened(house)
    assert made.account is not None

    made.account.close(Record(request_id="r", route="/"))
    made.account.close(Record(request_id="r", route="/"))

    assert (house.intents, house.settled, house.tickets[0].said) == ([], [], [("void",)])


def test_a_failure_costs_nothing_and_says_why():
    """Its row has the words and the code."""
    house = House()
    made = opened(house)
    assert made.account is not None

    made.account.begin(deployment("m", rates=PRICES))
    failed = Record(request_id="r", route="/", status=502, error="gone", error_code="upstream_unavailable")
    made.account.close(failed)

    (row,) = house.settled
    assert (row.state, row.cost_nano, row.error) == (State.FAILED, 0, "gone")
    assert house.tickets[0].said == [("settle", 0, 0)]


def test_a_caller_who_leaves_pays_for_what_the_backend_has_read():
    """It was sent, whether anybody waited for the answer or not."""
    house = House()
    made = opened(house)
    assert made.account is not None

    made.account.begin(deployment("m", rates=PRICES))
    made.account.close(Record(request_id="r", route="/"))

    (row,) = house.settled
    assert (row.state, row.usage_source, row.completion_tokens) == (State.ABORTED, "estimate", 0)
    assert row.cost_nano == row.prompt_tokens * 1000 > 0
    assert house.tickets[0].said == [("settle", row.cost_nano, row.prompt_tokens)]


def test_a_stream_that_the_caller_left_is_aborted_and_costs_what_has_come():
    """Its end mark never went out."""
    house = House()
    made = opened(house, stream=True)
    assert made.account is not None
    made.account.begin(deployment("m"))

    made.account.settle(deployment("m"), USAGE, "estimate", 5, Record(request_id="r", route="/", status=200))

    (row,) = house.settled
    assert (row.state, row.cost_nano, row.usage_source) == (State.ABORTED, 5, "estimate")


def test_words_are_kept_with_the_row_up_to_a_bound():
    """Of a prompt and an answer the beginning, whatever its pieces; where nobody asks for it nothing."""
    house = House()
    for keeps in (True, False):
        accounts = house.accounts()
        accounts.keeps_prompts = keeps
        asked = accounts.open_now(call(fields={"messages": "é" * 40_000}))
        assert asked is not None
        assert asked.account is not None
        asked.account.begin(deployment("m", rates=PRICES))
        for _ in range(3):
            asked.account.keep(b"x" * 30_000)
        asked.account.settle(deployment("m", rates=PRICES), USAGE, "provider", 5, Record(request_id="r", route="/"))

    with_words, without = house.settled
    assert with_words.messages is not None
    assert with_words.messages.startswith('"éé')
    assert len(with_words.messages.encode()) <= 64 * 1024 + 3
    assert with_words.response == "x" * 64 * 1024
    assert (without.messages, without.response) == (None, None)
    assert all(each.messages is None for each in house.intents)


@pytest.mark.parametrize(("default", "asked"), [("second", "second"), ("", "m")])
def test_an_end_user_bound_to_a_region_asks_his_own_model_where_the_one_named_is_elsewhere(default, asked):
    """The region holds in any case; the caller sees the name that he has asked for."""
    made = opened(House(bounds=Bounds("eu", default)))

    assert (made.controls.region, made.model, made.shown_model) == ("eu", asked, "m")


@pytest.mark.parametrize("region", ["us", "US"])
def test_an_end_user_asks_what_he_names_where_it_is_in_his_region(region):
    """A part of the region is in it; the request's own word for a region counts no more."""
    table = Table([deployment("m", region="us-east-1"), deployment("m", "other")])

    made = opened(House(bounds=Bounds(region, "second"), table=table), controls=Controls(region="eu"))

    assert (made.controls.region, made.model) == (region, "m")


def test_a_model_that_nobody_has_stays_what_was_asked_for():
    """Whoever looks for it says best that it is not there."""
    assert opened(House(bounds=Bounds("eu", "second")), model="no-such").model == "no-such"


def test_a_copy_is_put_down_and_charged_to_nobody():
    """With the request that it is a copy of, and nothing else of its caller's."""
    house = House()
    copied = house.accounts().mirrored(call(request_id="r-mirror", fields={"metadata": {"a": "b"}}), "r")
    assert copied.account is not None

    copied.account.begin(deployment("m", rates=PRICES))
    copied.account.settle(deployment("m", rates=PRICES), USAGE, "provider", 5, Record(request_id="r", route="mirror"))
    copied.account.close(Record(request_id="r", route="mirror"))

    (row,) = house.settled
    assert (row.request_id, row.key, row.user_id, row.team_id, row.end_user) == ("r-mirror", "", "", "", "")
    assert (row.charges, row.reserved_nano, row.cost_nano) == ((), 0, 5)
    assert row.metadata == {"mirrored_from": "r"}
    assert copied.account.told() == ""
    assert house.tickets == []


def test_a_copy_that_never_left_leaves_nothing():
    """No backend has heard of it."""
    house = House()

    account = house.accounts().mirrored(call(), "r").account
    assert account is not None
    account.close(Record(request_id="r", route="mirror"))

    assert (house.intents, house.settled) == ([], [])
