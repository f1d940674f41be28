"""Everything that is decided before the first socket: configuration, deployments, keys, limits.

The same function serves `serve`, `check` and `--health`, so that what is checked is what serves. Made once, before
worker processes are forked; immutable but for the budget, whose spend the workers share.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path as Folder
from random import Random
from typing import Final, Literal

from proxy_cli import deployments
from proxy_cli.access.addresses import Addresses
from proxy_cli.access.budgets import ProcessBudget
from proxy_cli.access.grants import Terms
from proxy_cli.access.keys import Keys
from proxy_cli.config.environment import Variables, read_environment
from proxy_cli.config.flags import Flags
from proxy_cli.config.load import Loaded, load
from proxy_cli.config.master_key import KeyProblem, master_key_problem
from proxy_cli.config.models import ModelEntry, ModelParams
from proxy_cli.config.problem import Path, Place, Problem, Severity
from proxy_cli.config.schema import Config
from proxy_cli.config.settings_general import GeneralSettings
from proxy_cli.ledger.retention import Retention, seconds_of
from proxy_cli.prices import unpriced
from proxy_cli.prices.table import PriceTable
from proxy_cli.routing.fleet import Fleet
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.table import Alias, Table
from proxy_cli.secret import Scrubber, Secret
from proxy_cli.server import backend_tls
from proxy_cli.server.admin_address import exposure
from proxy_cli.server.admin_routes import joined
from proxy_cli.server.admission import AdmissionLimits
from proxy_cli.server.books import Books, BookTerms, open_books
from proxy_cli.server.calls import Limits
from proxy_cli.server.counter import Cors
from proxy_cli.server.drain import Grace
from proxy_cli.server.key_settings import misfits
from proxy_cli.server.key_terms import addresses_of, notes_of, terms_of
from proxy_cli.server.named_routes import misnamed
from proxy_cli.server.prober import Probing, probing_of
from proxy_cli.server.rounds import SharedRound
from proxy_cli.server.routes import Route, served
from proxy_cli.server.routing_rules import rules_of
from proxy_cli.server.turn import Turn
from proxy_cli.shapes import Deployment, Json, Operation, Proxy
from proxy_cli.shared import Shared
from proxy_cli.store.failures import StoreProblem
from proxy_cli.store.settings import StoreSettings, data_dir, settings_of
from proxy_cli.telemetry.metrics import Metrics
from proxy_cli.wire.steering import MOCK_FAILURES

_MEGABYTE: Final = 1024 * 1024
_LEAST_BOARD_BYTES: Final = 256 * 1024  # for each process
_BYTES_PER_DEPLOYMENT: Final = 400  # its row in the fleet's figures and its places, each with its id
_NO_KEY: Final = "the database is not used: without general_settings.master_key there are no keys and no spend to keep"
Level = Literal["normal", "debug", "detailed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One proxy, decided."""

    config: Config
    flags: Flags
    variables: Variables
    table: Table
    rules: Rules
    known: Mapping[str, Mapping[str, Json]]
    keys: Keys
    terms: Terms = field(default_factory=Terms)  # of all keys
    addresses: Addresses = field(default_factory=Addresses)
    budget: ProcessBudget
    scrubber: Scrubber
    limits: Limits
    cors: Cors
    pool_limit: int | None = None  # connections to one backend
    max_response_bytes: int
    admission: AdmissionLimits
    fleet: Fleet  # of this server, whatever its configuration
    board: Shared | None = None  # likewise; where several processes tell each other of the fleet
    storing: StoreSettings | None = None  # where keys and money are kept, if at all
    folder: Folder = Folder()  # for what is kept beside it: the journal
    books: Books | None = None  # likewise; once they are open
    metrics: Metrics = field(default_factory=Metrics)  # likewise
    health_round: SharedRound = field(default_factory=SharedRound)  # likewise
    common: deployments.Common | None = None  # what all entries of models are read with
    seal_secret: Secret | None = None  # what secrets in the database are sealed with
    probing: Probing = field(default_factory=Probing)
    probers_turn: Turn = field(default_factory=partial(Turn, "llmproxy-prober"))  # of this server
    notes: tuple[str, ...] = ()  # warnings to be said once at start
    news: tuple[str, ...] = ()  # what was done before it, likewise

    def enter_process(self, number: int) -> None:
        """Called first in a worker process; no two that live at the same time have the same number."""
        self.budget.enter_process(number)
        self.metrics.enter(number)
        self.fleet.enter(number)
        if self.books is not None:
            self.books.enter(number)

    def with_models(self, entries: Sequence[ModelEntry]) -> tuple["Setup", tuple[str, ...]]:
        """The same with further models, and a sentence for each of them that cannot be used."""
        assert self.common is not None
        own = len(self.config.model_list)
        built = deployments.build(
            (*self.config.model_list, *entries),
            self.common,
            lambda path: Place("the database", int(path[1]) - own, 1),
        )
        self.scrubber.learn(Scrubber(built.secrets))
        table = _table(self.config, self.flags, built)
        rules = _rules(self.config, self.flags, self.variables, table)
        # Those of the file have been told when it was read.
        told = tuple(
            f"a model of the database is left out: {each.message}{' - ' if each.cure else ''}{each.cure}"
            for each in built.problems
            if each.place.line >= 0 and each.severity is Severity.ERROR
        )
        return replace(self, table=table, rules=rules, known=built.known), told

    def with_books(self) -> "Setup":
        """The same with its books open, where keys and money are kept. Raises StoreProblem."""
        if self.storing is None:
            return self
        general, litellm = self.config.general_settings, self.config.litellm_settings
        terms = BookTerms(
            processes=self.flags.num_workers,
            limits_capacity=general.limits_capacity,
            budget_status=litellm.budget_exceeded_status_code or 422,
            is_required=general.require_db,
            may_change=not (general.disable_prisma_schema_update or self.variables.disable_schema_update),
            keeps_rows=not general.disable_spend_logs,
            retention=_retention(general),
        )
        books, ready = open_books(self.storing, self.folder, terms=terms)
        return replace(self, books=books, notes=(*self.notes, *ready.says), news=ready.tells)

    @property
    def host(self) -> str:
        """The address to listen on."""
        return self.flags.listen_host()

    @property
    def port(self) -> int:
        """The port to listen on."""
        return self.flags.listen_port()

    @property
    def level(self) -> Level:
        """How much is logged."""
        if self.flags.detailed_debug:
            return "detailed"
        return "debug" if self.flags.debug else "normal"

    @property
    def docs_path(self) -> str | None:
        """Where the page with all endpoints is, if it is shown at all."""
        hidden = self.variables.no_docs or self.config.general_settings.disable_docs
        return None if hidden else (self.variables.docs_url or "/docs")

    @property
    def grace(self) -> Grace:
        """How long the steps of an end may take."""
        general = self.config.general_settings
        return Grace(
            wait_s=general.drain_wait_seconds,
            plain_s=general.drain_timeout_seconds,
            stream_s=general.drain_stream_timeout_seconds,
        )

    @property
    def compat_litellm(self) -> bool:
        """Whether errors and odd cases are as LiteLLM has them."""
        return self.config.general_settings.compat == "litellm"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The setup, or why there is none; problems with a place in a file, and sentences without one."""

    setup: Setup | None
    problems: tuple[Problem, ...] = ()
    sentences: tuple[str, ...] = field(default=())
    loaded: Loaded | None = None


def prepare(flags: Flags, environ: Mapping[str, str], sources: Mapping[str, str] | None = None) -> Prepared:
    """Load, resolve and check everything; no socket, no request. All problems are found in one go."""
    loaded = load(flags.config, environ) if flags.config else None
    # What the file's environment_variables set counts as if it had been set outside.
    seen = loaded.environ if loaded else environ
    variables, sentences = _variables(seen, sources)
    if (loaded is not None and loaded.config is None) or variables is None:
        return Prepared(None, _all_problems(loaded), sentences, loaded)
    config = (loaded.config if loaded else None) or _single(flags)
    common = _common(config, flags, variables, seen)
    built = deployments.build(config.model_list, common, _places(loaded))
    problems = sorted([*(loaded.problems if loaded else ()), *built.problems])
    master_key, key_problem = _master_key(config, flags, variables)
    refused = key_problem is not None and key_problem.refused
    notes = (key_problem.text,) if key_problem is not None and not refused else ()
    if refused and key_problem is not None and loaded is not None and config.general_settings.master_key is not None:
        problems = sorted([*problems, _refused_key(key_problem, loaded)])
    elif refused and key_problem is not None:
        sentences = (*sentences, key_problem.text)
    storing, unusable = _storing(config, seen, master_key)
    sentences = (*sentences, *unusable)
    tls = backend_tls.check(config, variables, built.deployments, loaded)
    routes = misnamed(config, loaded, _every_route(variables)) if loaded is not None else ()
    fields = misfits(config, loaded) if loaded is not None else ()
    problems, sentences = sorted([*problems, *tls.problems, *routes, *fields]), (*sentences, *tls.sentences)
    if refused or tls.sentences or unusable or any(each.severity is Severity.ERROR for each in problems):
        return Prepared(None, tuple(problems), sentences, loaded)
    unused = (
        (_NO_KEY,) if storing is None and (config.general_settings.database_url or seen.get("DATABASE_URL")) else ()
    )
    notes = (*notes, *unused, *backend_tls.notes(config, variables), *_price_notes(seen))
    setup = _setup(config, flags, variables, built, master_key, notes)
    setup = replace(
        setup,
        notes=(*setup.notes, *_exposure(setup, storing)),
        storing=storing,
        folder=data_dir(seen),
        common=common,
        seal_secret=variables.salt_key or master_key,
    )
    return Prepared(setup, tuple(problems), sentences, loaded)


def _every_route(variables: Variables) -> tuple[Route, ...]:
    return joined(served(docs_path=variables.docs_url or "/docs"))


def _exposure(setup: Setup, storing: StoreSettings | None) -> tuple[str, ...]:
    bind = setup.config.general_settings.admin_bind
    return () if storing is None else exposure(setup.host, bind, is_secure=setup.flags.ssl_certfile is not None)


def _storing(
    config: Config, environ: Mapping[str, str], master_key: Secret | None
) -> tuple[StoreSettings | None, tuple[str, ...]]:
    """Where keys and money are kept, or the sentence that says why nowhere; None without a key that all others need."""
    general = config.general_settings
    try:
        storing = settings_of(
            general.database_url,
            environ,
            data_dir(environ),
            pool=general.database_connection_pool_limit,
            timeout_s=general.database_connection_timeout,
            power_safe=general.ledger_durability == "power",
        )
    except StoreProblem as problem:
        return None, (str(problem),)
    # Without a master key everybody is an operator: whoever came first could hand out keys that stay good.
    return (None if master_key is None else storing), ()


def _variables(
    environ: Mapping[str, str], sources: Mapping[str, str] | None
) -> tuple[Variables | None, tuple[str, ...]]:
    variables, problems = read_environment(environ, sources or {})
    errors = [each for each in problems if each.severity is Severity.ERROR]
    return (None if errors else variables), tuple(str(each) for each in problems)


def _single(flags: Flags) -> Config:
    """The configuration that `--model` stands for."""
    assert flags.model is not None, "the command line asks for a file or a model"
    given = {
        "model": flags.model,
        "api_base": flags.api_base,
        "api_version": flags.api_version,
    }
    params = ModelParams.model_validate({name: value for name, value in given.items() if value is not None})
    name = flags.alias or flags.model
    return Config(model_list=(ModelEntry(model_name=name, litellm_params=params),))


def _common(config: Config, flags: Flags, variables: Variables, environ: Mapping[str, str]) -> deployments.Common:
    general, litellm, router = config.general_settings, config.litellm_settings, config.router_settings
    forced: dict[str, Json] = {}
    if flags.temperature is not None:
        forced["temperature"] = flags.temperature
    if flags.max_tokens is not None:
        forced["max_tokens"] = flags.max_tokens
    return deployments.Common(
        environ=environ,
        prices=PriceTable.load(data_dir(environ)),
        credentials={each.credential_name: each for each in config.credential_list},
        params=router.default_litellm_params,
        drop_params=flags.drop_params or litellm.drop_params or bool(variables.drop_params),
        add_function_to_prompt=flags.add_function_to_prompt or litellm.add_function_to_prompt,
        timeout_s=_deadline_s(config, flags, variables),
        stream_timeout_s=router.stream_timeout,
        max_parallel=router.default_max_parallel_requests,
        heartbeat_s=None if general.beats_are_chosen else litellm.sse_keepalive_ping_interval_seconds,
        forced=forced,
        headers=flags.headers,
        forward_client_headers=general.forward_client_headers_to_llm_api,
        forward_organization=general.forward_openai_org_id,
        tls=backend_tls.settings(litellm, variables),
        trusted=variables.ssl_cert_file or True,
        proxy=litellm.http_proxy if isinstance(litellm.http_proxy, Proxy) else None,
        discounts=litellm.cost_discount_config,
        margins=litellm.cost_margin_config,
        needs_price=unpriced.is_denied(general.unpriced, litellm.block_requests_for_models_without_pricing),
    )


def _price_notes(environ: Mapping[str, str]) -> tuple[str, ...]:
    note = PriceTable.load(data_dir(environ)).note
    return (note,) if note else ()


def _deadline_s(config: Config, flags: Flags, variables: Variables) -> float | None:
    """How long a call may take in all, where its entry does not say it."""
    router, litellm = config.router_settings, config.litellm_settings
    return _first(flags.request_timeout_s, router.timeout, litellm.request_timeout, variables.request_timeout_s)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _master_key(config: Config, flags: Flags, variables: Variables) -> tuple[Secret | None, KeyProblem | None]:
    """The key, and what is to be said about it."""
    general = config.general_settings
    key = general.master_key or variables.master_key
    permitted = general.dangerously_permit_weak_or_unset_master_key or bool(variables.permit_weak_master_key)
    return key, master_key_problem(key, flags.listen_host(), permitted=permitted)


def _refused_key(problem: KeyProblem, loaded: Loaded) -> Problem:
    """A key of the file wins over the variable: a better one has to get into the file."""
    path: Path = ("general_settings", "master_key")
    return loaded.problem(path, problem.message, f"write master_key: os.environ/LITELLM_MASTER_KEY, and {problem.cure}")


def _all_problems(loaded: Loaded | None) -> tuple[Problem, ...]:
    """Of a file with errors: also where its sound entries would lead nowhere."""
    if loaded is None:
        return ()
    common = deployments.Common(environ=loaded.environ, prices=PriceTable.load(data_dir(loaded.environ)))
    mended = {index: entry for index, entry in loaded.sound.items() if _stands_alone(entry)}
    return tuple(sorted([*loaded.problems, *deployments.misdirected(mended, common, loaded.place)]))


def _stands_alone(entry: ModelEntry) -> bool:
    return entry.litellm_params.litellm_credential_name is None


def _places(loaded: Loaded | None) -> Callable[[Path], Place]:
    if loaded is not None:
        return loaded.place
    return lambda _path: Place("--model", 1, 1)


def _setup(
    config: Config,
    flags: Flags,
    variables: Variables,
    built: deployments.Built,
    master_key: Secret | None,
    notes: Sequence[str],
) -> Setup:
    general, litellm = config.general_settings, config.litellm_settings
    max_budget = flags.max_budget_usd if flags.max_budget_usd is not None else litellm.max_budget
    secrets = (*built.secrets, *((master_key,) if master_key else ()))
    table = _table(config, flags, built)
    admission = _admission(config, flags)
    rules = _rules(config, flags, variables, table)
    board = _board(len(built.deployments)) if flags.num_workers > 1 else None
    return Setup(
        config=config,
        flags=flags,
        variables=variables,
        table=table,
        rules=rules,
        # Which of equal servers is asked is no secret.
        fleet=Fleet(rules, clock=time.monotonic, random=Random(), shared=board),  # noqa: S311
        board=board,
        known=built.known,
        keys=Keys(master_key, header_name=general.litellm_key_header_name),
        terms=terms_of(config, max_budget),
        addresses=addresses_of(config),
        budget=ProcessBudget(max_budget, litellm.budget_exceeded_status_code or 422),
        scrubber=Scrubber(secrets),
        limits=_limits(config),
        cors=Cors(tuple(general.cors_allowed_origins)),
        admission=admission,
        probing=probing_of(general),
        pool_limit=general.max_connections_per_backend,
        max_response_bytes=int((general.max_response_size_mb or 64) * _MEGABYTE),
        notes=(*notes, *notes_of(config, variables), *_unpriced(built.deployments, max_budget)),
    )


def _retention(general: GeneralSettings) -> Retention | None:
    """How long rows of the ledger are kept, and how many of them."""
    period, interval = general.maximum_spend_logs_retention_period, general.maximum_spend_logs_retention_interval
    if period is None and general.maximum_spend_logs_rows is None:
        return None
    kept = Retention(period_s=None if period is None else seconds_of(period), most_rows=general.maximum_spend_logs_rows)
    return kept if interval is None else replace(kept, interval_s=seconds_of(interval))


def _table(config: Config, flags: Flags, built: deployments.Built) -> Table:
    """The names that can be asked for."""
    aliases = {name: Alias(each.model, each.hidden) for name, each in config.router_settings.model_group_alias.items()}
    if flags.alias and not any(each.group == flags.alias for each in built.deployments):
        # With a file, --alias gives its first model one more name.
        aliases.setdefault(flags.alias, Alias(built.deployments[0].group))
    return Table(built.deployments, aliases=aliases, any_name=flags.config is None, expand=built.expand)


def _rules(config: Config, flags: Flags, variables: Variables, table: Table) -> Rules:
    return rules_of(
        config,
        serves=table.knows,
        deadline_s=_deadline_s(config, flags, variables),
        in_flight=_admission(config, flags).in_flight,
    )


def _board(deployments: int) -> Shared:
    """The memory in which workers tell each other of so many deployments, and of as many that a reload may bring."""
    # It takes no memory before it is written to.
    return Shared(slot_bytes=max(_LEAST_BOARD_BYTES, 2 * deployments * _BYTES_PER_DEPLOYMENT))


def _limits(config: Config) -> Limits:
    general = config.general_settings
    named = {
        Operation.CHAT: general.completion_model,
        Operation.COMPLETIONS: general.completion_model,
        Operation.EMBEDDINGS: general.embedding_model,
        Operation.IMAGE_GENERATIONS: general.image_generation_model,
        Operation.MODERATIONS: general.moderation_model,
    }
    limits = Limits(
        always_usage=general.always_include_stream_usage,
        models={operation: name for operation, name in named.items() if name},
        key_header=(general.litellm_key_header_name or "").lower(),
        permitted=MOCK_FAILURES if general.dangerously_allow_mock_testing_request_params else frozenset(),
        refuses_tags=general.reject_clientside_metadata_tags,
    )
    if general.max_request_size_mb is None:
        return limits
    size = int(general.max_request_size_mb * _MEGABYTE)
    return replace(limits, max_body_bytes=size, max_upload_bytes=size)


def _admission(config: Config, flags: Flags) -> AdmissionLimits:
    """What a process takes on at once: a number that was chosen is a bound for streams, too."""
    general, usual = config.general_settings, AdmissionLimits()
    if flags.limit_concurrency is not None:
        # As where this option comes from: no queue, what is beyond is refused at once.
        return AdmissionLimits(in_flight=flags.limit_concurrency, queued=0, streams=0)
    chosen, queued = general.max_in_flight_requests_per_worker, general.max_queued_requests_per_worker
    return AdmissionLimits(
        in_flight=chosen or usual.in_flight,
        queued=usual.queued if queued is None else queued,
        wait_s=general.admission_queue_timeout_seconds or usual.wait_s,
        streams=0 if chosen else usual.streams,
    )


def _unpriced(found: Sequence[Deployment], max_budget: float | None) -> tuple[str, ...]:
    """A budget cannot count what has no price: say so for the models it does not hold for."""
    return () if max_budget is None else unpriced.warning(unpriced.names(found))
