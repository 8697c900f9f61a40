"""The rows of the comparison: what a team asks before it takes a library, and what answers it for each."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.features import probes
from benchmarks.features.evidence import (
    Command,
    Evidence,
    Measured,
    Missing,
    Needs,
    Ran,
    Read,
    Released,
    Tested,
    Typed,
)
from benchmarks.features.subjects import (
    FastapiKeyAuth,
    FastapiSimpleSecurity,
    KeyguardItself,
    Keyshield,
    LitestarApiAuth,
    RestFrameworkApiKey,
    SafeApiKeys,
    Subject,
)

__all__ = ["PARTS", "ROWS", "Row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A question."""

    title: str
    how: str
    """How it was answered, for the manual."""
    cells: Mapping[type[Subject], Evidence] | Evidence
    """One for each subject, or one for all."""

    def evidence(self, subject: type[Subject]) -> Evidence:
        """Return what answers it for a subject."""
        return self.cells[subject] if isinstance(self.cells, Mapping) else self.cells


def _cells(  # noqa: PLR0917 A row of the table, in the order of its columns.
    keyguard: Evidence,
    safe_api_keys: Evidence,
    keyshield: Evidence,
    litestar: Evidence,
    rest_framework: Evidence,
    simple_security: Evidence,
    key_auth: Evidence,
) -> Mapping[type[Subject], Evidence]:
    return {
        KeyguardItself: keyguard,
        SafeApiKeys: safe_api_keys,
        Keyshield: keyshield,
        LitestarApiAuth: litestar,
        RestFrameworkApiKey: rest_framework,
        FastapiSimpleSecurity: simple_security,
        FastapiKeyAuth: key_auth,
    }


NO_WSGI = Missing("no", r"wsgi|flask")
NO_ROTATION = Missing("no", r"def \w*rotat|grace")
NO_SCOPES = Missing("no", r"scopes")
NO_NETWORKS = Missing("no", r"allowlist|ip_network|ip_address")
NO_OWNERS = Missing("there are no owners", r"\bowner(_id)?\s*[:=]|ForeignKey")
NO_AUDIT = Missing("no", r"class \w*audit|def \w*audit")
NO_CIPHER = Missing("no", r"fernet|encrypt\(")
NO_USES = Missing("no", r"last_used|use_count|total_")
ADMIN = "no; Django's admin, for staff"
ROUTES = "no; JSON routes"

ON_KEYGUARD = (("KeyGuard, SQLite, warm", "on SQLite"), ("KeyGuard, PostgreSQL, warm", "on PostgreSQL"))

PARTS: Mapping[str, tuple[Row, ...]] = {
    "What was looked at": (
        Row(title="version, and when it was released", how="Each was the newest on that day.", cells=Released()),
        Row(
            title="installs, beside its framework",
            how="The packages that come with it, no extra being asked for, and the oldest Python.",
            cells=Needs(),
        ),
    ),
    "Where it stands, and what it reads": (
        Row(
            title="stands in front of",
            how="What of it is put before an app. Those that are middleware were run before a plain ASGI function.",
            cells=_cells(
                Tested("any ASGI app", "tests/test_frameworks.py::test_the_table"),
                Read("any ASGI app; Flask; Django", "contrib/starlette.py", "class APIKeyMiddleware"),
                Read("routes of FastAPI, Litestar, Quart, Django", "api.py", "def create_depends_api_key"),
                Read("routes of Litestar", "guards.py", "def require_api_key"),
                Read("views of Django REST framework", "permissions.py", "class HasAPIKey"),
                Read("routes of FastAPI", "security_api_key.py", "async def api_key_security"),
                Read("any ASGI app; routes of FastAPI", "middleware/authorizer.py", "class AuthorizerMiddleware"),
            ),
        ),
        Row(
            title="Flask, or Django under WSGI",
            how="Whether apps that do not speak ASGI can have it.",
            cells=_cells(
                NO_WSGI,
                Read("both", "contrib/flask.py", "class APIKeys"),
                Read("Django, async views", "django/decorators.py", "async def wrapped"),
                NO_WSGI,
                Read("Django", "permissions.py", "request: HttpRequest"),
                NO_WSGI,
                NO_WSGI,
            ),
        ),
        Row(title="a WebSocket", how=probes.websocket.__doc__ or "", cells=Ran(probes.websocket)),
        Row(
            title="an open WebSocket, when its key is revoked",
            how=probes.open_websocket.__doc__ or "",
            cells=Ran(probes.open_websocket),
        ),
        Row(title="a key may come in", how=probes.sources.__doc__ or "", cells=Ran(probes.sources)),
        Row(title="two keys in one request", how=probes.two_keys.__doc__ or "", cells=Ran(probes.two_keys)),
        Row(
            title="a key in the query, in the access log",
            how=probes.access_log.__doc__ or "",
            cells=Ran(probes.access_log),
        ),
        Row(title="with `/health` exempt, open is", how=probes.exempt.__doc__ or "", cells=Ran(probes.exempt)),
    ),
    "What is kept": (
        Row(title="a key is kept as", how=probes.at_rest.__doc__ or "", cells=Ran(probes.at_rest)),
        Row(
            title="its digest",
            how="What the package computes.",
            cells=_cells(
                Tested(
                    "SHA-256, HMAC under a pepper, Argon2id", "tests/test_hashing.py::test_a_slow_hash_where_one_is_due"
                ),
                Read("HMAC under a pepper, Argon2id", "hashing.py", "class HmacSha256Hasher"),
                Read("Argon2id, bcrypt", "hasher/argon2.py", "PasswordHasher"),
                Read("SHA-256", "service.py", "hashlib.sha256"),
                Read("SHA-512", "crypto.py", "hashlib.sha512"),
                Read("none", "_sqlite_access.py", "api_key TEXT PRIMARY KEY"),
                Read("none", "middleware/authorizer.py", "if api_key == key"),
            ),
        ),
        Row(
            title="keys are kept in",
            how="What stores the package has.",
            cells=_cells(
                Tested("SQLite, PostgreSQL, a file", "tests/stores/test_contract.py::TestStaticStore"),
                Read("SQLite, whatever SQLAlchemy knows, Redis, Django's ORM", "stores/redis.py", "class RedisStore"),
                Read(
                    "whatever SQLAlchemy knows, Django's ORM", "repositories/sql.py", "class SqlAlchemyApiKeyRepository"
                ),
                Read("whatever SQLAlchemy knows, Redis", "backends/redis.py", "class RedisBackend"),
                Read("Django's ORM", "models.py", "class AbstractAPIKey(models.Model)"),
                Read("SQLite", "_sqlite_access.py", "sqlite3.connect"),
                Read("environment variables", "utils.py", "os.environ"),
            ),
        ),
        Row(
            title="seals credentials for other services",
            how="Whether it also keeps what an app needs in plain text again, such as keys of other services.",
            cells=_cells(
                Tested("yes", "tests/test_vault_sealing.py::test_opening_is_the_inverse_of_sealing"),
                NO_CIPHER,
                NO_CIPHER,
                NO_CIPHER,
                NO_CIPHER,
                NO_CIPHER,
                NO_CIPHER,
            ),
        ),
    ),
    "A key's life": (
        Row(
            title="a key that another process revokes is refused from",
            how=probes.revoked_elsewhere.__doc__ or "",
            cells=Ran(probes.revoked_elsewhere),
        ),
        Row(title="expires", how=probes.expiry.__doc__ or "", cells=Ran(probes.expiry)),
        Row(
            title="rotation with a grace",
            how="Whether a new key can take the place of an old one, which goes on for a while.",
            cells=_cells(
                Tested("yes", "tests/lifecycle/test_rotation.py::test_a_rotated_key_is_good_for_its_grace"),
                Read("yes, and tells clients with `Sunset`", "amanager.py", "async def rotate"),
                NO_ROTATION,
                NO_ROTATION,
                NO_ROTATION,
                NO_ROTATION,
                NO_ROTATION,
            ),
        ),
        Row(
            title="scopes",
            how="Whether a key can be limited to some of what the app does.",
            cells=_cells(
                Tested("yes, also `flows:*`", "tests/test_scopes.py::test_a_scope_covers_a_name"),
                Read("yes, also `flows:*`", "scopes.py", "def scope_covers"),
                Read("yes", "domain/entities.py", "def ensure_valid_scopes"),
                Read("yes", "guards.py", "def require_scopes"),
                NO_SCOPES,
                NO_SCOPES,
                NO_SCOPES,
            ),
        ),
        Row(
            title="allowed networks",
            how="Whether a key can be limited to some addresses.",
            cells=_cells(
                Tested("yes", "tests/test_policy.py::test_a_key_may_be_bound_to_networks"),
                Read("yes", "_logic.py", "def ip_allowed"),
                NO_NETWORKS,
                NO_NETWORKS,
                NO_NETWORKS,
                NO_NETWORKS,
                NO_NETWORKS,
            ),
        ),
        Row(
            title="switching an owner off ends their keys",
            how="Whether keys belong to somebody who can be switched off.",
            cells=_cells(
                Tested("yes", "tests/test_authenticator.py::test_a_change_holds_from_the_next_request_on"),
                Read("an owner is only a name", "models.py", "owner: str"),
                NO_OWNERS,
                NO_OWNERS,
                NO_OWNERS,
                NO_OWNERS,
                NO_OWNERS,
            ),
        ),
    ),
    "Running it": (
        Row(
            title="changes are on record",
            how="Whether it can be seen later who changed what.",
            cells=_cells(
                Tested(
                    "yes, in the same transaction", "tests/lifecycle/test_audit.py::test_each_change_of_a_key_is_noted"
                ),
                Read("yes, in the log, or where you say", "audit.py", "class LoggingAuditSink"),
                NO_AUDIT,
                NO_AUDIT,
                Read("what is done in Django's admin", "admin.py", "class APIKeyModelAdmin(admin.ModelAdmin)"),
                NO_AUDIT,
                NO_AUDIT,
            ),
        ),
        Row(
            title="counts uses",
            how="What it notes of a key's uses.",
            cells=_cells(
                Tested("yes, and time and address of the last", "tests/test_usage.py::test_uses_are_counted"),
                Read("no; the time of the last, to a minute", "models.py", "*throttled*"),
                Read("no; the time of the last", "domain/entities.py", "def touch"),
                Read("no; the time of the last", "middleware.py", "async def update_last_used"),
                NO_USES,
                Read("yes, and the time of the last", "_sqlite_access.py", "SET total_queries = ?"),
                NO_USES,
            ),
        ),
        Row(
            title="a page where people manage their own keys",
            how="What there is for people, and not for programs.",
            cells=_cells(
                Tested("yes", "tests/admin/test_new_keys.py::test_a_new_key_is_shown_once"),
                Read(ADMIN, "contrib/django/admin.py", "admin.ModelAdmin"),
                Read(ROUTES, "api.py", "def create_api_keys_router"),
                Read(ROUTES, "controllers.py", "class APIKeyController"),
                Read(ADMIN, "admin.py", "class APIKeyModelAdmin(admin.ModelAdmin)"),
                Read(ROUTES, "endpoints.py", "api_key_router = APIRouter"),
                Missing("no", r"router"),
            ),
        ),
        Row(title="a command line", how="Whether a command is installed with it.", cells=Command()),
        Row(
            title="limits how often a key calls",
            how="Whether there is anything that counts calls and refuses some for being too many.",
            cells=Missing("no", r"(class|def) \w*(rate_?limit|quota)"),
        ),
        Row(
            title="its security scheme in OpenAPI",
            how="For which framework the document of an app says how to authenticate.",
            cells=_cells(
                Tested("FastAPI", "tests/test_fastapi.py::test_schemes"),
                Read("FastAPI", "contrib/fastapi.py", "APIKeyHeader(name="),
                Read("FastAPI", "api.py", "security = security or HTTPBearer("),
                Read("Litestar", "plugin.py", "security_scheme = SecurityScheme("),
                Missing("no", r"openapi|spectacular"),
                Read("FastAPI", "security_api_key.py", "api_key_header = APIKeyHeader("),
                Read("no; a required header", "dependency/authorizer.py", "Header(...)"),
            ),
        ),
        Row(title="typed", how="Whether type checkers may believe its annotations.", cells=Typed()),
    ),
    "What it costs": (
        Row(
            title="a check adds",
            how="Beyond the bare framework, for a good key that was seen before: the first table of "
            "`benchmarks/results.md`. There Keyguard has its keys in a database, and all others have them in memory.",
            cells=_cells(
                Measured(ON_KEYGUARD, adds=True),
                Measured((("safe-api-keys", ""),), adds=True),
                Measured((("keyshield", ""),), adds=True),
                Measured((("litestar-api-auth", ""),), adds=True),
                Measured((), adds=True),
                Measured((), adds=True),
                Measured((("fastapi-key-auth", ""),), adds=True),
            ),
        ),
        Row(
            title="as a ratio to the bare framework",
            how="The same, as the table has it.",
            cells=_cells(
                Measured(ON_KEYGUARD, adds=False),
                Measured((("safe-api-keys", ""),), adds=False),
                Measured((("keyshield", "FastAPI"),), adds=False),
                Measured((("litestar-api-auth", "Litestar"),), adds=False),
                Measured((), adds=False),
                Measured((), adds=False),
                Measured((("fastapi-key-auth", ""),), adds=False),
            ),
        ),
    ),
}

ROWS = tuple(row for part in PARTS.values() for row in part)
