"""Branches that know where their parts stand."""

import pytest

from proxy_cli.config.scalar import Scalar
from proxy_cli.config.source import parse
from proxy_cli.config.tree import Mapping, Sequence, find


def root() -> Mapping:
    found, _ = parse(b"a:\n  - b: 1\n    c: x\n", "c.yaml")
    assert found is not None
    return found.values


def test_a_tree_is_made_of_dictionaries_lists_and_scalars():
    """Whoever reads it needs nothing special."""
    tree = root()

    assert tree == {"a": [{"b": Scalar("1", False, "int"), "c": Scalar("x", False, "text")}]}
    assert isinstance(tree["a"], Sequence)


def test_each_branch_counts_its_nodes_and_its_height():
    """The budget for aliases is kept with these numbers."""
    tree = root()

    assert (tree.size, tree.height) == (5, 3)
    assert isinstance(entries := tree["a"], Sequence)
    assert (entries.size, entries.height) == (4, 2)


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("a",), (2, 3), (1, 1)),
        (("a", 0, "c"), (3, 8), (3, 5)),
        (("a", 0, "d"), (2, 5), (2, 5)),
        (("a", 5, "b"), (2, 3), (2, 3)),
        (("a", -1), (2, 3), (2, 3)),
        (("z",), (9, 9), (9, 9)),
    ],
)
def test_a_path_is_followed_as_far_as_it_goes(path, value, key):
    """What is missing stands where its nearest parent stands."""
    assert find(root(), (9, 9), path, key=False) == value
    assert find(root(), (9, 9), path, key=True) == key
