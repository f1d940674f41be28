"""The declaration of `general_settings.litellm_jwtauth`: which claims of a token count."""

from proxy_cli.config.fields import Anything, Flag, Name, Names, Seconds, Text
from proxy_cli.config.state import Section, later, used

_NOBODY_NEW = "users and teams are made with /user/new and /team/new"
_NO_ROLES = "who is in the store has the role that stands there"


class JwtAuth(Section):
    """Which claims of a token count; a name with dots leads into claims within claims."""

    admin_jwt_scope: Name = used("The word in `scope` that makes an administrator.", default="litellm_proxy_admin")
    admin_allowed_routes: Names = used(
        "Paths and groups of paths for administrators.",
        default=("management_routes", "spend_tracking_routes", "global_spend_tracking_routes", "info_routes"),
    )
    team_id_jwt_field: Name | None = used("The claim that names the team.")
    team_ids_jwt_field: Name | None = used("The claim with a list of teams: the first that is known counts.")
    team_id_default: Name | None = used("The team of tokens that name none.")
    team_allowed_routes: Names = used(
        "Paths and groups of paths for members of teams.", default=("openai_routes", "info_routes")
    )
    user_id_jwt_field: Name | None = used("The claim that names the user.")
    user_email_jwt_field: Name | None = used("The claim with the user's e-mail address.")
    user_allowed_email_domain: Name | None = used("Only users with addresses of this domain are let in.")
    user_roles_jwt_field: Name | None = used("The claim with the user's roles.")
    user_allowed_roles: Names = used("Only users with one of these roles are let in.", default=())
    public_key_ttl: Seconds = used("How long keys count before they are read again, in seconds.", default=600.0)
    public_key_stale_ttl: Seconds = used("And how long while they cannot be read.", default=3600.0)

    team_id_upsert: Flag | None = later("Make teams that tokens name.", _NOBODY_NEW)
    user_id_upsert: Flag | None = later("Make users that tokens name.", _NOBODY_NEW)
    team_alias_jwt_field: Name | None = later("The claim with a team's alias.", "use `team_id_jwt_field`")
    org_id_jwt_field: Name | None = later("The claim that names the organization.", "a team's own one counts")
    end_user_id_jwt_field: Name | None = later("The claim that names the end user.", "send `user` in the request")
    roles_jwt_field: Name | None = later("The claim with roles.", _NO_ROLES)
    role_mappings: Anything = later("Roles of tokens as roles here.", _NO_ROLES)
    scope_mappings: Anything = later("Scopes of tokens as models.", "give the team its models")
    enforce_rbac: Flag | None = later("Refuse tokens without a role.", _NO_ROLES)
    enforce_scope_based_access: Flag | None = later("Models by scope.", "give the team its models")
    enforce_team_based_model_access: Flag | None = later("Refuse tokens without a team.")
    custom_validate: Text | None = later("A Python function that judges tokens.")
    sync_user_role_and_teams: Flag | None = later("Change users as tokens say.", _NOBODY_NEW)
    jwt_litellm_role_map: Anything = later("Roles of tokens as roles here.", _NO_ROLES)
    oidc_userinfo_enabled: Flag | None = later("Ask the issuer about users.")
    oidc_userinfo_endpoint: Text | None = later("Where to ask.")
    oidc_userinfo_cache_ttl: Seconds | None = later("How long what it said counts.")
    virtual_key_claim_field: Name | None = later("The claim that names a key.", "send the key itself")
    issuers: Anything = later("Several issuers.", "JWT_PUBLIC_KEY_URL takes several addresses, with commas")
    object_id_jwt_field: Name | None = later("The claim that names a user or a team.", "use `user_id_jwt_field`")
