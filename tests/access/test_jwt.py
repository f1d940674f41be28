"""Tokens of somebody else's: good with a signature, an end and a name that is known here, and refused else."""

import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.utils import base64url_encode

from proxy_cli.access.callers import Callers
from proxy_cli.access.jwt import Jwt, JwtTerms
from proxy_cli.access.key_sets import KeySets
from proxy_cli.access.keys import Keys
from proxy_cli.callers import Role
from proxy_cli.errors import Unauthenticated
from proxy_cli.secret import Secret
from tests.access.stored import MASTER, bearer, put, team, user
from tests.fakes.store import fresh_store

OURS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHERS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
TERMS = JwtTerms(team_id_jwt_field="team", user_id_jwt_field="sub", team_ids_jwt_field="groups.all")
PEER = "127.0.0.1"


def claims(**more):
    """Claims that hold for five minutes."""
    base = {"sub": "u", "team": "t", "aud": "proxy", "iss": "https://id.test", "exp": int(time.time()) + 86_400}
    return {name: value for name, value in {**base, **more}.items() if value is not None}


def signed(said, key=OURS, algorithm="RS256", kid="1"):
    return jwt.encode(said, key, algorithm=algorithm, headers={"kid": kid})


@pytest.fixture
async def make(tmp_path):
    """Makes callers that accept tokens; the store knows a user and a team."""
    path = tmp_path / "keys.json"
    key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(OURS.public_key()))
    path.write_text(json.dumps({"keys": [{**key, "kid": "1", "alg": "RS256", "use": "sig"}]}))
    store = fresh_store(tmp_path)
    await put(store, user("u", role="internal_user"), team("t", fields={"models": ["m"]}), team("shut", blocked=True))
    made = []

    def one(terms=TERMS, **more):
        tokens = Jwt(terms, KeySets([str(path)]), audience="proxy", issuer="https://id.test", store=store)
        made.append(Callers(Keys(Secret(MASTER)), store=store, tokens=tokens, **more))
        return made[-1]

    yield one
    for each in made:
        await each.close()
    await store.close()


async def code_of(callers, token):
    """The code of the refusal of a token, and its words; or None."""
    try:
        await callers.find(bearer(token), PEER)
    except Unauthenticated as refusal:
        return "told" if token in refusal.message else refusal.code
    return None


async def test_a_token_is_its_users_and_its_teams(make):
    """With their limits, until its end, for asking models; known from then on."""
    callers = make()
    token = signed(claims())

    found = await callers.find(bearer(token), PEER)

    assert (found.user_id, found.team_id, found.role, found.key) == ("u", "t", Role.USER, "")
    assert found.models == (frozenset("m"),)
    assert [each.kind for each in found.scopes] == ["team_member", "user", "team"]
    assert found.allowed_routes == ("openai_routes", "info_routes")
    assert callers.admit(bearer(token), PEER) is found


async def test_the_operators_scope_makes_an_administrator(make):
    """Who manages by it and, unless it is so set, asks no models."""
    found = await make().find(bearer(signed(claims(scope="openid litellm_proxy_admin"))), PEER)

    assert found.is_admin
    assert "management_routes" in found.allowed_routes
    assert "openai_routes" not in found.allowed_routes


@pytest.mark.row("A-06")
@pytest.mark.parametrize(
    ("token", "code"),
    [
        (jwt.encode(claims(), "", algorithm="none"), "invalid_token"),
        (signed(claims(), OTHERS), "invalid_token"),
        (signed(claims(), kid="../../etc/passwd"), "invalid_token"),
        (signed(claims(aud="other")), "invalid_token"),
        (signed(claims(aud=None)), "invalid_token"),
        (signed(claims(iss="https://evil.test")), "invalid_token"),
        (signed(claims(exp=int(time.time()) - 60)), "expired_key"),
        (signed(claims(exp=None)), "invalid_token"),
        (signed(claims(nbf=int(time.time()) + 86_400)), "invalid_token"),
        (signed(claims())[:-8] + "AAAAAAAA", "invalid_token"),
        ("eyJ.eyJ.x", "invalid_token"),
        (signed(claims(team="gone", sub=None)), "token_not_known_here"),
        (signed(claims(team=None, sub="nobody")), "token_not_known_here"),
        (signed(claims(team="shut")), "blocked_team"),
    ],
)
async def test_a_token_that_is_not_good_is_refused(make, token, code):
    """Not signed, signed by another, for another, of another, over, endless, or of nobody who is known."""
    assert await code_of(make(), token) == code


@pytest.mark.row("A-06")
async def test_a_public_key_is_no_secret(make):
    """A token signed with the public key's text as a shared secret."""
    text = OURS.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body, _ = signed(claims()).split(".")
    forged = base64url_encode(b'{"alg":"HS256","typ":"JWT","kid":"1"}').decode()
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(f"{forged}.{body}".encode(), text)
    token = f"{forged}.{body}.{base64url_encode(mac).decode()}"

    assert head
    assert await code_of(make(), token) == "invalid_token"


@pytest.mark.row("A-06")
async def test_tokens_that_begin_alike_are_told_apart(make):
    """What was said of one is not said of another with the same first 200 characters."""
    callers = make()
    good = signed(claims(padding="x" * 300))
    bad = good[:-20] + "A" * 20

    assert await code_of(callers, good) is None
    assert await code_of(callers, bad) == "invalid_token"
    assert good[:200] == bad[:200]


@pytest.mark.parametrize(
    ("more", "team_id"),
    [({"team": None, "groups": {"all": ["gone", "t"]}}, "t"), ({"team": None}, ""), ({"team": "gone"}, "")],
)
async def test_the_first_team_that_is_known_counts(make, more, team_id):
    """Of a list, too, which may stand within another claim; without one the user's own limits hold."""
    found = await make().find(bearer(signed(claims(**more))), PEER)

    assert (found.user_id, found.team_id) == ("u", team_id)


async def test_a_usual_team_stands_in(make):
    """For tokens without one."""
    callers = make(JwtTerms(team_id_jwt_field="team", user_id_jwt_field="sub", team_id_default="t"))

    assert (await callers.find(bearer(signed(claims(team=None))), PEER)).team_id == "t"


@pytest.mark.parametrize(
    ("terms", "more", "code"),
    [
        ({"user_allowed_email_domain": "ours.test", "user_email_jwt_field": "mail"}, {"mail": "a@ours.test"}, None),
        (
            {"user_allowed_email_domain": "ours.test", "user_email_jwt_field": "mail"},
            {"mail": "a@ours.test.evil"},
            "token_not_allowed",
        ),
        ({"user_allowed_email_domain": "ours.test"}, {}, "token_not_allowed"),
        ({"user_allowed_roles": ("dev",), "user_roles_jwt_field": "roles"}, {"roles": ["dev", "x"]}, None),
        ({"user_allowed_roles": ("dev",), "user_roles_jwt_field": "roles"}, {"roles": ["ops"]}, "token_not_allowed"),
    ],
)
async def test_only_some_users_may_be_let_in(make, terms, more, code):
    """By the end of their address, or by a role."""
    callers = make(JwtTerms(user_id_jwt_field="sub", **terms))

    assert await code_of(callers, signed(claims(**more))) == code


async def test_a_token_ends_while_it_is_known(make):
    """It is not good for longer because it was used before."""
    now = [time.time()]
    callers = make(wall=lambda: now[0])
    token = signed(claims(exp=int(now[0]) + 5))
    await callers.find(bearer(token), PEER)

    now[0] += 30

    assert callers.admit(bearer(token), PEER) is None


async def test_without_tokens_a_token_is_an_unknown_key():
    """It is not even looked at."""
    callers = Callers(Keys(Secret(MASTER)))

    assert await code_of(callers, signed(claims())) == "invalid_api_key"
