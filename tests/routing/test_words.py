"""What is said of a deployment from outside: the newest word counts."""

from proxy_cli.routing.figures import Figures, Row
from proxy_cli.routing.words import Operator, Probed, Words
from tests.routing.fleets import Hands


def rows(count):
    """Rows of one deployment, as several processes would have them, and the clock that all go by."""
    clock = Hands()
    return clock, [Row("a", Figures(None, clock)) for _ in range(count)]


def test_nobody_has_said_anything_at_first():
    """A deployment is active and unknown until somebody speaks of it."""
    words = Words()

    assert words.operator(0.0) == (Operator.ACTIVE, None)
    assert (words.probed, words.why) == (Probed.UNKNOWN, "")
    assert words.allow(0.0)


def test_an_operators_word_holds_until_its_end():
    """Draining for a time is forgotten after it; without an end it holds until the next word."""
    clock, [row] = rows(1)
    words = Words()

    words.say_operator(Operator.DRAINING, clock() + 60, row)
    assert words.operator(clock() + 59) == (Operator.DRAINING, clock() + 60)
    assert not words.allow(clock() + 59)
    assert words.operator(clock() + 60) == (Operator.ACTIVE, None)
    assert words.allow(clock() + 60)

    words.say_operator(Operator.DISABLED, None, row)
    assert words.operator(clock() + 1e9) == (Operator.DISABLED, None)


def test_the_newest_word_counts_whoever_said_it():
    """Two processes speak in turn, also within one tick of the clock: both end with the last word."""
    _, [mine, yours] = rows(2)
    me, you = Words(), Words()

    me.say_operator(Operator.DRAINING, None, mine)
    you.hear(mine.cells, mine.at)
    you.say_operator(Operator.ACTIVE, None, yours)
    me.hear(yours.cells, yours.at)
    you.hear(mine.cells, mine.at)

    assert me.operator(0.0) == you.operator(0.0) == (Operator.ACTIVE, None)


def test_one_kind_of_word_does_not_hide_the_other():
    """An older word of the operator is heard after a newer look, and the other way round."""
    clock, [mine, yours] = rows(2)
    me, you = Words(), Words()
    me.say_operator(Operator.DISABLED, None, mine)
    clock.turn(1)
    you.say_probed(Probed.DOWN, "refused", yours)

    me.hear(yours.cells, yours.at)
    you.hear(mine.cells, mine.at)

    for words in (me, you):
        assert words.operator(clock())[0] is Operator.DISABLED
        assert words.probed is Probed.DOWN
        assert not words.allow(clock())
    assert (you.why, me.why) == ("refused", "")


def test_a_word_that_was_heard_speaks_against_asking():
    """Each kind does by itself, and the next one takes it back."""
    clock, [one, other] = rows(2)
    says, hears = Words(), Words()

    says.say_probed(Probed.DOWN, "refused", one)
    hears.hear(one.cells, one.at)
    assert not hears.allow(clock())
    says.say_probed(Probed.READY, "", one)
    hears.hear(one.cells, one.at)
    assert hears.allow(clock())

    Words().say_operator(Operator.DISABLED, None, other)
    hears.hear(other.cells, other.at)
    assert not hears.allow(clock())


def test_what_is_known_already_is_not_said_again():
    """The same finding once more changes no cell, only why it is so."""
    clock, [row] = rows(1)
    words = Words()
    words.say_probed(Probed.READY, "", row)
    before = list(row.cells)
    clock.turn(5)

    words.say_probed(Probed.READY, "200", row)

    assert (list(row.cells), words.why) == (before, "200")
