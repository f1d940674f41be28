"""The file as a tree: dictionaries and lists with scalars as leaves, each branch knowing where its parts stand.

A branch that is used by several aliases is one object in several places, so nobody may change a tree.
"""

from typing import TypeAlias, Union

from proxy_cli.config.scalar import Scalar

Tree: TypeAlias = Union[Scalar, "Mapping", "Sequence"]
Spot: TypeAlias = tuple[int, int]  # line and column, from 1


class Mapping(dict[str, "Tree"]):
    """The settings below one key, and where each key and each value stands."""

    __slots__ = ("height", "marks", "size")

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[str, tuple[Spot, Spot]] = {}  # of the key, and of the value
        self.size = 1  # nodes in it, with all that aliases and merges bring in
        self.height = 1  # branches from here to the deepest leaf

    def value_spot(self, key: str) -> Spot:
        """Where the value of a key stands."""
        return self.marks[key][1]

    def key_spot(self, key: str) -> Spot:
        """Where the key itself stands."""
        return self.marks[key][0]


class Sequence(list["Tree"]):
    """The entries of one list, and where each of them stands."""

    __slots__ = ("height", "marks", "size")

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[Spot] = []
        self.size = 1
        self.height = 1


Branch = Mapping | Sequence


def find(root: Branch, start: Spot, path: tuple[str | int, ...], *, key: bool) -> Spot:
    """Where the end of a path stands, as key or as value; for what is missing, its nearest parent."""
    spot = start
    branch: Tree = root
    for depth, step in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(branch, Mapping) and isinstance(step, str) and step in branch:
            spot = branch.key_spot(step) if key and last else branch.value_spot(step)
            branch = branch[step]
        elif isinstance(branch, Sequence) and isinstance(step, int) and 0 <= step < len(branch):
            spot = branch.marks[step]
            branch = branch[step]
        else:
            break
    return spot
