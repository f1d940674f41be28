"""Every endpoint for operators, in one table."""

import re

from proxy_cli.admin.table import ENDPOINTS

LITELLM = """
POST /key/generate /key/service-account/generate /key/update /key/bulk_update /key/delete /key/block /key/unblock
POST /key/regenerate /key/{key}/regenerate /key/{key}/reset_spend /key/health /v2/key/info
GET /key/info /key/list /key/aliases
POST /user/new /user/update /user/bulk_update /user/delete
GET /user/info /user/list /user/available_roles
"""


def test_litellms_paths_for_keys_and_users_are_there():
    """A client of it finds each where it was."""
    wanted = {(line.split()[0], path) for line in LITELLM.strip().splitlines() for path in line.split()[1:]}

    assert wanted <= {(each.method, each.path) for each in ENDPOINTS}


def test_every_endpoint_is_named_once_and_says_what_it_does():
    """Names are what routes are called by; a path has one slot at most, of small letters."""
    assert len({each.name for each in ENDPOINTS}) == len(ENDPOINTS)
    for each in ENDPOINTS:
        assert each.summary
        assert each.summary[-1] != "."
        assert len(re.findall(r"\{", each.path)) == len(re.findall(r"\{[a-z]+\}", each.path)) <= 1


def test_what_has_no_effect_is_a_field_of_the_body():
    """Else nobody could send it."""
    for each in ENDPOINTS:
        fields = set() if each.body is None else set(each.body.__struct_fields__)
        assert each.inert <= fields


def test_nothing_but_reading_is_open_to_callers_without_a_key():
    """There is no public endpoint among these."""
    assert {each.access for each in ENDPOINTS} <= {"key", "self", "viewer", "admin"}
