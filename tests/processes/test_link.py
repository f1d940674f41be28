"""What a worker and its parent say to each other."""

from proxy_cli.processes import link
from proxy_cli.server.reload import Renewal


def test_messages_arrive_in_order_with_their_words():
    """Several in one piece are several."""
    ours, theirs = link.pair()

    ours.say(link.READY)
    ours.say(link.ASKS, 7, True)
    heard = theirs.hear()

    assert heard == [("ready", []), ("asks", [7, True])]
    ours.close()
    theirs.close()


def test_message_is_read_when_all_of_it_is_there():
    """Long ones come in pieces."""
    ours, theirs = link.pair()
    long = "x" * 100_000

    ours.say(link.FAILED, long)
    pieces = [theirs.hear(), theirs.hear()]

    assert pieces == [[], [("failed", [long])]]
    ours.close()
    theirs.close()


def test_end_of_the_other_side_is_told_apart_from_silence():
    """Nothing more can be said to it or heard from it."""
    ours, theirs = link.pair()

    theirs.close()

    assert ours.hear() is None
    assert ours.say(link.STOP, True) is False
    ours.close()


def test_renewal_comes_out_as_it_went_in():
    """With every line."""
    renewal = Renewal(False, ("config.yaml:1:1: is empty", "二"))
    ours, theirs = link.pair()

    ours.say(link.ANSWER, 1, link.packed(renewal))
    heard = theirs.hear()

    assert heard is not None
    assert link.unpacked(heard[0][1][1]) == renewal
    ours.close()
    theirs.close()
