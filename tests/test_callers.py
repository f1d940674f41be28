import msgspec
import pytest

from proxy_cli.callers import ANYONE, Caller, Role, Scope


@pytest.mark.parametrize("limit", ["rpm", "tpm", "max_parallel", "max_nano"])
def test_a_scope_with_any_limit_is_limited(limit):
    """A limit of nothing is one, too."""
    assert msgspec.structs.replace(Scope(kind="key", id="k"), **{limit: 0}).is_limited


def test_a_scope_without_a_limit_is_only_counted():
    """A soft budget refuses nobody."""
    assert not Scope(kind="key", id="k", soft_nano=1).is_limited


@pytest.mark.parametrize(
    ("role", "is_admin", "sees_all"),
    [
        (Role.ADMIN, True, True),
        (Role.VIEWER, False, True),
        (Role.USER, False, False),
        (Role.USER_VIEWER, False, False),
        (Role.CUSTOMER, False, False),
    ],
)
def test_who_sees_and_changes_all(role, is_admin, sees_all):
    """The viewer reads as the admin does, and changes nothing."""
    caller = Caller(role=role)

    assert (caller.is_admin, caller.sees_all) == (is_admin, sees_all)


def test_a_caller_is_shared_and_never_changed():
    """Many calls of a key go with one of them at a time."""
    with pytest.raises(AttributeError):
        setattr(ANYONE, "role", Role.USER)  # noqa: B010 - its type knows, too

    assert msgspec.structs.replace(ANYONE, role=Role.USER).role is Role.USER
    assert ANYONE.is_admin
