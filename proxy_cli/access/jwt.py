"""Tokens of somebody else's (JWT, RFC 7519): who signed them, until when they hold, and whom they name.

Owns the claims that count, by LiteLLM's names for them. Refuses every algorithm but those with a public key, so that a
public key is never taken for a secret. Rule: a token is good only with an end, and only for who is known here: its
user or its team stands in the store, or its scope says that it is the operator's.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from proxy_cli.access.grants import Facts, Known, Terms, caller_without_key
from proxy_cli.access.key_sets import KeySets
from proxy_cli.access.lookups import read_named
from proxy_cli.callers import Role
from proxy_cli.errors import NotSupportedYet
from proxy_cli.shapes import Json
from proxy_cli.store.base import Store

# With a public key each: a shared secret (HS256) is none, and neither is no signature at all.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

_PARTS: Final = 2  # dots in a token
_LONGEST: Final = 16 * 1024
_LEEWAY_S: Final = 10.0
_ADMINS: Final = ("management_routes", "spend_tracking_routes", "global_spend_tracking_routes", "info_routes")
_TEAMS: Final = ("openai_routes", "info_routes")


_NOBODY: Final = "names no user and no team that is known here; make one with POST /user/new or /team/new"


class _Refused(Exception):
    """Why a token is not good; told to its bearer by whoever asked."""

    def __init__(self, words: str, code: str) -> None:
        super().__init__(words)
        self.words = words
        self.code = code


class JwtTerms(msgspec.Struct, frozen=True, kw_only=True):
    """`litellm_jwtauth`: which claim says what. A name with dots leads into claims within claims."""

    admin_jwt_scope: str = "litellm_proxy_admin"
    admin_allowed_routes: tuple[str, ...] = _ADMINS
    team_id_jwt_field: str | None = None
    team_ids_jwt_field: str | None = None
    team_id_default: str | None = None
    team_allowed_routes: tuple[str, ...] = _TEAMS
    user_id_jwt_field: str | None = None
    user_email_jwt_field: str | None = None
    user_allowed_email_domain: str | None = None
    user_roles_jwt_field: str | None = None
    user_allowed_roles: tuple[str, ...] = ()
    public_key_ttl: float = 600.0
    public_key_stale_ttl: float = 3600.0


class Jwt:
    """Reads tokens."""

    def __init__(
        self,
        terms: JwtTerms,
        sets: KeySets,
        *,
        audience: str | None = None,
        issuer: str | None = None,
        store: Store | None = None,
        keys: Terms | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._terms = terms
        self._sets = sets
        self._audience = audience
        self._issuer = issuer
        self._store = store
        self._keys = keys or Terms()
        self._wall = wall

    def is_token(self, key: str) -> bool:
        """Whether a credential has the shape of a token."""
        return key.startswith("ey") and key.count(".") == _PARTS

    async def known(self, token: str) -> Known:
        """What a token says of its bearer. Raises Overloaded or StoreUnavailable."""
        try:
            return await self._judged(token)
        except _Refused as refusal:
            return Known(refused=(refusal.words, refusal.code))

    async def _judged(self, token: str) -> Known:
        claims = await self._claims(token)
        ends_s = float(claims["exp"])
        terms = self._terms
        if terms.admin_jwt_scope in _words(claims.get("scope")):
            return self._known(Facts(), claims, ends_s, Role.ADMIN)
        self._check_user(claims)
        facts = await self._facts(claims)
        if facts.user is None and facts.team is None:
            raise _Refused(_NOBODY, "token_not_known_here")
        if facts.team is not None and facts.team["blocked"]:
            raise _Refused("names a team that is blocked", "blocked_team")
        return self._known(facts, claims, ends_s, None)

    async def _claims(self, token: str) -> Mapping[str, Json]:
        try:
            import jwt  # noqa: PLC0415 - an extra
        except ImportError:
            raise NotSupportedYet("tokens need more than is installed: pip install 'llmproxy[jwt]'") from None
        if len(token) > _LONGEST:
            raise _Refused("is too long", "invalid_token")
        try:
            head = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise _Refused("cannot be read", "invalid_token") from None
        if head.get("alg") not in ALGORITHMS:
            raise _Refused("is not signed in a way that is accepted here", "invalid_token")
        kid = head.get("kid")
        words = "is signed with a key that is not known here"
        for key in await self._sets.with_id(kid if isinstance(kid, str) else None):
            try:
                return self._decoded(jwt, token, key)
            except (jwt.InvalidSignatureError, jwt.InvalidKeyError, jwt.PyJWKError, jwt.InvalidAlgorithmError):
                continue
            except jwt.ExpiredSignatureError:
                raise _Refused("has expired; sign in again", "expired_key") from None
            except jwt.PyJWTError as error:
                raise _Refused(_reason(error), "invalid_token") from None
        raise _Refused(words, "invalid_token")

    def _decoded(self, jwt: Any, token: str, key: dict[str, Any]) -> Mapping[str, Json]:
        claims: Mapping[str, Json] = jwt.decode(
            token,
            jwt.PyJWK(key),
            algorithms=list(ALGORITHMS),
            audience=self._audience,
            issuer=self._issuer,
            leeway=_LEEWAY_S,
            options={"require": ["exp"], "verify_aud": self._audience is not None},
        )
        return claims

    def _check_user(self, claims: Mapping[str, Json]) -> None:
        terms = self._terms
        domain = terms.user_allowed_email_domain
        if domain and not str(_claim(claims, terms.user_email_jwt_field) or "").lower().endswith(f"@{domain.lower()}"):
            raise _Refused("is of nobody whose e-mail address is allowed here", "token_not_allowed")
        if terms.user_allowed_roles:
            roles = set(_words(_claim(claims, terms.user_roles_jwt_field)))
            if not roles & set(terms.user_allowed_roles):
                raise _Refused("has none of the roles that are allowed here", "token_not_allowed")

    async def _facts(self, claims: Mapping[str, Json]) -> Facts:
        terms, store = self._terms, self._store
        if store is None:
            return Facts()
        user_id = str(_claim(claims, terms.user_id_jwt_field) or "")
        named = [_claim(claims, terms.team_id_jwt_field), *_words(_claim(claims, terms.team_ids_jwt_field))]
        teams = [str(each) for each in named if each] or ([terms.team_id_default] if terms.team_id_default else [])
        for team_id in teams:
            facts = await store.read(partial(_named, user_id, team_id))
            if facts.team is not None:
                return facts
        if teams and not user_id:
            return Facts()
        return await store.read(partial(_named, user_id, ""))

    def _known(self, facts: Facts, claims: Mapping[str, Json], ends_s: float, role: Role | None) -> Known:
        terms = self._terms
        user_id = str(_claim(claims, terms.user_id_jwt_field) or "")
        caller = caller_without_key(facts, self._keys, user_id=user_id, role=role, expires_s=ends_s)
        routes = terms.admin_allowed_routes if role is Role.ADMIN else terms.team_allowed_routes
        if role is None and facts.team is None:
            routes = ()
        caller = msgspec.structs.replace(caller, allowed_routes=routes, hint="jwt")
        parts = {("user", user_id), ("team", caller.team_id), ("team_member", f"{caller.team_id}/{user_id}")}
        return Known(caller=caller, turn_s=ends_s + _LEEWAY_S, parts=frozenset(parts))


def _named(user_id: str, team_id: str, connection: Connection) -> Facts:
    return read_named(connection, user_id, team_id)


def _claim(claims: Mapping[str, Json], name: str | None) -> Json:
    """The value of a claim, which may stand within others: `realm_access.roles`."""
    if not name:
        return None
    if name in claims:
        return claims[name]
    value: Json = claims
    for step in name.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _words(value: Json) -> Iterable[str]:
    """A list of texts, or one text of words, as `scope` is in OAuth."""
    if isinstance(value, str):
        return value.split()
    return [str(each) for each in value] if isinstance(value, list | tuple) else ()


def _reason(error: Exception) -> str:
    words = {
        "InvalidAudienceError": "is not for this server; its aud must be what JWT_AUDIENCE says",
        "InvalidIssuerError": "is of an issuer that is not accepted here",
        "ImmatureSignatureError": "does not hold yet",
        "MissingRequiredClaimError": "lacks a claim that it must have",
    }
    return words.get(type(error).__name__, "is not good")
