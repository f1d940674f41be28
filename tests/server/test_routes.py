import pytest

from proxy_cli.errors import MethodNotAllowed, NotFound
from proxy_cli.server.routes import ROUTES, Route, Routes, governed, meaningless, served
from proxy_cli.shapes import Operation

OPERATIONS = list(Operation)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_every_operation_is_reached_with_and_without_v1(operation, prefix):
    """Both spellings lead to the same function."""
    match = Routes().match("POST", f"{prefix}/{operation}")

    assert (match.route.name, match.route.operation, match.model) == ("inference", operation, None)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("prefix", ["/openai/deployments/", "/engines/"])
@pytest.mark.parametrize(
    ("slot", "model"),
    [("gpt-4o", "gpt-4o"), ("a%2Fb", "a/b"), ("a/b", "a/b"), ("%E6%97%A5", "日"), ("a%252Fb", "a%2Fb")],
)
def test_the_model_in_a_path_is_decoded_once(operation, prefix, slot, model):
    """Azure's form takes the deployment from the path, slashes included, and decodes it one time only."""
    match = Routes().match("POST", f"{prefix}{slot}/{operation}")

    assert (match.route.operation, match.model) == (operation, model)


@pytest.mark.parametrize(
    "path",
    [
        "/health/../model/info",
        "//model/info",
        "/model%2finfo",
        "/model/info%00",
        "/model/info;x",
        "/MODEL/INFO",
        "/v1/models/",
        "/v1/chat/completions/",
        "/v1/chat/completions.",
        "/v1/models/a/../b",
        "/v1/models/%2e%2e/x",
        "/v1/models/..",
        "/v1/models/a%00b",
        "/v1/models/%ff",
        "/v1/chat%2Fcompletions",
        "http://elsewhere/health",
        "*",
        "",
    ],
)
def test_what_only_resembles_a_path_is_not_found(path):
    """Fixed segments match byte for byte; nothing is normalised, so nothing is mistaken."""
    routes = Routes()

    with pytest.raises((NotFound, MethodNotAllowed)) as caught:
        routes.match("GET", path)

    assert caught.value.status in {404, 405}


def test_a_wrong_method_names_the_right_one():
    """405 carries what the path takes."""
    with pytest.raises(MethodNotAllowed, match="POST") as caught:
        Routes().match("GET", "/v1/chat/completions")

    assert dict(caught.value.headers)["allow"] == "POST, OPTIONS"


def test_a_path_that_is_read_takes_head_too():
    """And says so."""
    with pytest.raises(MethodNotAllowed) as caught:
        Routes().match("DELETE", "/v1/models")

    assert dict(caught.value.headers)["allow"] == "GET, HEAD, OPTIONS"


def test_a_doubled_v1_is_explained():
    """A base URL with one /v1 too many is the commonest mistake of all."""
    with pytest.raises(NotFound, match="one /v1 too many"):
        Routes().match("POST", "/v1/v1/chat/completions")


@pytest.mark.parametrize(("method", "path"), [("POST", "/openai/responses"), ("GET", "/openai/models")])
def test_azures_paths_without_a_deployment_are_there(method, path):
    """The OpenAI SDK for Azure asks for these below its endpoint, with no model in the path."""
    assert Routes().match(method, path).model is None


@pytest.mark.parametrize(
    ("path", "hint"),
    [("/v1/chat/completions/", "without the slash at its end"), ("/v1//models", "two slashes in a row")],
)
def test_a_slash_too_many_is_explained(path, hint):
    """It is not forgiven, as what only resembles a path is none; but the reader sees at once why."""
    with pytest.raises(NotFound, match=hint):
        Routes().match("GET", path)


def test_the_more_exact_template_wins():
    """`/v1/engines/{model}/embeddings` is not `/v1/{...}` of something shorter."""
    assert Routes().match("GET", "/v1/models/embeddings").route.name == "model"
    assert Routes().match("GET", "/v1/model/info").route.name == "model_info"


@pytest.mark.parametrize("path", ["/proxy/v1/models", "/v1/models"])
def test_a_root_path_is_taken_off(path):
    """Behind a reverse proxy the prefix may be there or already removed."""
    assert Routes(root="/proxy").match("GET", path).route.name == "models"


def test_a_root_path_ends_at_a_slash():
    """`/proxyx` is not below `/proxy`."""
    with pytest.raises(NotFound):
        Routes(root="/proxy").match("GET", "/proxyx/v1/models")


def test_only_the_listed_routes_are_public():
    """Whatever is added to the table needs a key unless this list says otherwise."""
    public = {route.path_template for route in ROUTES if route.public}

    assert public == {
        "/",
        "/docs",
        "/openapi.json",
        "/routes",
        "/health/liveliness",
        "/health/liveness",
        "/health/readiness",
    }


def test_the_paths_are_told_to_anybody_only_where_the_document_is():
    """Who hides the one does not mean to show the other."""
    open_one, closed_one = (
        next(route for route in served(openapi=shown) if route.name == "routes") for shown in (True, False)
    )

    assert (open_one.access, closed_one.access) == ("public", "key")


def test_a_probe_needs_no_key():
    """It is answered before anybody looks for one."""
    probes = [route for route in ROUTES if route.is_probe]

    assert {route.name for route in probes} == {"alive", "ready"}
    assert all(route.public for route in probes)


@pytest.mark.parametrize("target", ["/health", "/metrics", "/v1/chat/completions", "/health/readiness?x", "/nowhere"])
def test_what_is_no_probe_is_not_answered_as_one(target):
    """Only fixed paths, exactly as they stand."""
    assert Routes().probe(target) is None


def test_settings_open_and_close_paths():
    """For all, for the admin only, or for nobody; probes answer always."""
    table = governed(
        ROUTES,
        public=["/routes", "/metrics"],
        admin_only=["/metrics", "/test"],
        allowed=["LiteLLMRoutes.llm_api_routes", "/routes", "/metrics", "/test"],
    )
    access = {each.path_template: each.access for each in table}

    assert access["/routes"] == "public"
    assert access["/metrics"] == access["/test"] == "admin"
    assert access["/v1/chat/completions"] == access["/v1/models"] == "key"
    assert access["/health"] == access["/config/reload"] == access["/docs"] == "closed"
    assert access["/health/readiness"] == "public"


def test_paths_that_mean_nothing_are_told():
    """A mistake in a list of paths is not silently a hole or a wall."""
    assert meaningless(["/routes", "/v1/*", "info_routes", "/rutes", "no_routes"], ROUTES) == ("/rutes", "no_routes")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/chat/completions", ("POST", "OPTIONS")),
        ("/models", ("GET", "HEAD", "OPTIONS")),
        ("/tool/x", ("GET", "HEAD", "PATCH", "OPTIONS")),
        ("/thing", ("PUT", "DELETE", "OPTIONS")),
        ("/nowhere", ()),
    ],
)
def test_a_preflight_is_told_every_method_of_a_path(path, methods):
    """So that a page may change and delete what an endpoint lets it."""
    added = [("GET", "/tool/{id}"), ("PATCH", "/tool/{id}"), ("PUT", "/thing"), ("DELETE", "/thing")]
    routes = Routes((*ROUTES, *(Route(method, path, "other", "", "keys") for method, path in added)))

    assert routes.methods_of(path) == methods
