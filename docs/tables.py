"""The tables of the manual that are made from the code, as Markdown.

The policy's tables are made by asking `keyguard.policy.decide` about every combination that they show. Neighbours that
have the same answers are shown as one row, or one column.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import Any

from benchmarks.scaling import SHAPES, Load
from sqlalchemy import Table
from typer.main import get_command

from keyguard.cli._commands import app
from keyguard.cli._environment import VARIABLES
from keyguard.cli._failures import ExitCode
from keyguard.model import (
    Allowed,
    Anonymous,
    Decision,
    Facts,
    KeyRecord,
    Need,
    Owner,
    Presented,
    Principal,
    Reason,
    Refused,
    Requirement,
    Rule,
)
from keyguard.policy import decide, judge, lacking
from keyguard.refusals import Challenge, Refusal, refusal_for
from keyguard.settings import Policy
from keyguard.stores.sql import SQLStore
from keyguard.vault import FILE_VARIABLE, KEY_VARIABLE

__all__ = ["ALWAYS", "CREDENTIALS", "EXIT_CODES", "MODES", "TABLES", "commands"]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

ADA = Owner(id="ada", name="ada")
ROOT = Owner(id="root", name="root")
SIGNED_IN = Principal(id="eve", name="eve")
WHO = {"ada": "the key's owner", "root": "the auto-login user", "eve": "the user who is signed in"}

RULES = {
    Rule.EXEMPT: 1,
    Rule.KEY: 2,
    Rule.IDENTIFIED: 3,
    Rule.SKIP_AUTH: 4,
    Rule.AMBIGUOUS: 5,
    Rule.BAD_KEY: 6,
    Rule.AUTO_LOGIN: 7,
    Rule.OPTIONAL: 7,
    Rule.NO_KEY: 7,
}
"""The rules' numbers in `keyguard.policy`."""


def _key(owner: Owner = ADA, **fields: object) -> Facts:
    """Return the facts of a request with a genuine key."""
    record = KeyRecord(
        id="3fJ2x0Qm7LpZ", owner_id=owner.id, prefix="kg_", lookup="", verifier="", created_at=NOON - HOUR, **fields
    )
    return Facts(credential=judge(record, owner), address=ip_address("192.0.2.7"), auto_login_user=ROOT)


def _other(credential: Presented, identified: Principal | None = None) -> Facts:
    return Facts(credential=credential, identified=identified, auto_login_user=ROOT)


CREDENTIALS: Mapping[str, Facts] = {
    "no key": _other(Presented.NOTHING),
    "no key, but the app's own sign-in knows the caller": _other(Presented.NOTHING, SIGNED_IN),
    "a bearer token that is no key, and the sign-in knows it": _other(Presented.FOREIGN_TOKEN, SIGNED_IN),
    "a good key": _key(),
    "more than one key, or a lookalike": _other(Presented.AMBIGUOUS),
    "a malformed key": _other(Presented.MALFORMED),
    "an unknown key": _other(Presented.UNKNOWN),
    "a key that is not valid yet": _key(not_before=NOON + HOUR),
    "an expired key": _key(expires_at=NOON),
    "a revoked key": _key(revoked_at=NOON - HOUR),
    "a disabled key": _key(disabled_at=NOON - HOUR),
    "a key whose owner is not active": _key(Owner(id="ada", name="ada", is_active=False)),
    "a key from an address that it does not allow": _key(networks=(ip_network("198.51.100.0/24"),)),
    "a bearer token that is no key, and nobody knows it": _other(Presented.FOREIGN_TOKEN),
}

MODES: Mapping[str, Policy] = {
    "neither": Policy(),
    "`auto_login`": Policy(auto_login=True, auto_login_user="root"),
    "`auto_login` without `auto_login_needs_key`": Policy(
        auto_login=True, auto_login_needs_key=False, auto_login_user="root"
    ),
    "`skip_auth`": Policy(skip_auth=True, auto_login_user="root"),
    "`skip_auth` and `auto_login`": Policy(skip_auth=True, auto_login=True, auto_login_user="root"),
}

AUTO_LOGIN_USERS: Mapping[str, Owner | None] = {
    "active": ROOT,
    "not active": Owner(id="root", name="root", is_active=False),
    "no longer there": None,
}


def policy_table(requirement: Requirement) -> str:
    """Who may pass on paths of one kind: what was presented, by mode."""
    cells = {
        credential: {mode: _outcome(decide(requirement, facts, policy, NOON)) for mode, policy in MODES.items()}
        for credential, facts in CREDENTIALS.items()
    }
    return _grid("presented", cells, anything="anything")


def auto_login_user_table() -> str:
    """What becomes of a request without a key, by the state of the auto-login user."""
    facts = {state: Facts(auto_login_user=owner) for state, owner in AUTO_LOGIN_USERS.items()}
    modes = {mode: policy for mode, policy in MODES.items() if policy.excuses_keyless}
    cells = {
        state: {mode: _outcome(decide(Requirement.REQUIRED, known, policy, NOON)) for mode, policy in modes.items()}
        for state, known in facts.items()
    }
    return _grid("auto-login user", cells, anything="whatever it is")


def require_table() -> str:
    """What `require` answers, by how the caller was let in."""
    ada = Principal(id="ada", name="ada", scopes=frozenset({"flows:read"}))
    boss = Principal(id="ada", name="ada", is_superuser=True)
    callers: Mapping[str, Allowed | Anonymous] = {
        "nobody, on an exempt or optional path": Anonymous(rule=Rule.OPTIONAL),
        "a key with the scope `flows:read`": Allowed(rule=Rule.KEY, principal=ada),
        "a key with the scope `*` of a superuser": Allowed(rule=Rule.KEY, principal=boss),
        "signed in by the app, no superuser": Allowed(rule=Rule.IDENTIFIED, principal=SIGNED_IN),
        "the auto-login user, no superuser": Allowed(rule=Rule.SKIP_AUTH, principal=Principal(id="root", name="root")),
    }
    needs = {
        '`require("flows:read")`': Need(scopes=("flows:read",)),
        '`require("flows:write")`': Need(scopes=("flows:write",)),
        "`require(superuser=True)`": Need(superuser=True),
        "`require(key=True)`": Need(key=True),
    }
    cells = {
        caller: {need: _lack(lacking(asked, decision)) for need, asked in needs.items()}
        for caller, decision in callers.items()
    }
    return _table(["let in as", *needs], [[caller, *row.values()] for caller, row in cells.items()])


def refusals_table() -> str:
    """What a refused caller learns, by reason."""
    challenge = Challenge(header="x-api-key", query="x-api-key")
    rows = []
    for reason in Reason:
        refusal = refusal_for(reason)
        rows.append(
            [
                f"`{reason.name}`",
                reason.value,
                f"{refusal.status}",
                f"`{refusal.code}`",
                f"`{refusal.error}`" if refusal.error else "none" if _is_challenged(refusal, challenge) else "",
            ]
        )
    return _table(["reason", "in words", "status", "`code`", "error in the challenge"], rows)


def answers_table() -> str:
    """The different answers, each with its problem document's sentence."""
    answers = dict.fromkeys(refusal_for(reason) for reason in Reason)
    return _table(
        ["`code`", "status", "`detail`"],
        [[f"`{refusal.code}`", f"{refusal.status}", refusal.detail] for refusal in answers],
    )


MEANINGS = {
    "keyguard_meta": {
        "name": "`schema` or `pepper`",
        "value": "the number of the schema's version; the check value of the pepper that made digests last, or nothing",
    },
    "keyguard_revision": {
        "id": "1: there is one row",
        "n": "how many transactions have changed what a check reads",
    },
    "keyguard_listener": {
        "id": "a worker that trusts what it has read before, while its lease lasts",
        "revision": "the revision that it has taken notice of",
        "expires_at": "when its lease runs out, by the database's clock",
    },
    "keyguard_uses": {
        "key_id": "whose uses these are",
        "total": "how many requests passed by it",
        "last_used_at": "when the last one did",
        "last_used_address": "from where it came",
    },
    "keyguard_flushes": {
        "worker": "a process that counts uses",
        "sequence": "the number of the last batch that it wrote",
        "written_at": "when that was",
    },
    "keyguard_owners": {
        "id": "a UUID, or what `add_owner` was given",
        "name": "unique",
        "is_active": "false refuses all of the owner's keys",
        "is_superuser": "",
        "password": "a verifier: Argon2id, or bcrypt where it was brought from elsewhere and not used since",
        "created_at": "",
    },
    "keyguard_keys": {
        "id": "12 characters that may be shown",
        "lookup": "the digest that the key is found by, with its scheme; unique",
        "verifier": "what the key is verified against, with its scheme",
        "owner_id": "the owner; the type of the app's own ids where it has its own user table",
        "prefix": "what the key begins with, separator included",
        "name": "for people",
        "scopes": 'a JSON list; `["*"]` is all that the owner may do, `[]` nothing',
        "networks": "a JSON list of CIDR networks; `[]` is anywhere",
        "created_at": "",
        "not_before": "",
        "expires_at": "the key is good before this moment, and not at it",
        "disabled_at": "",
        "revoked_at": "",
        "revoked_reason": "",
        "rotated_at": "when another key took its place",
        "rotated_from": "the id of the key whose place it took",
        "metadata": "a JSON object: what the app notes about the key",
    },
    "keyguard_events": {
        "id": "grows with each event",
        "at": "",
        "kind": "what was done, such as `key.revoked`",
        "actor": "who asked for it, as the app names them; empty where nobody said",
        "key_id": "",
        "owner_id": "which owner, or whose key: the id as a text",
        "detail": "a JSON object, without secrets",
    },
    "keyguard_credentials": {
        "owner_id": "the owner, as in `keyguard_keys`",
        "name": "what the app looks it up by, such as `OPENAI_API_KEY`",
        "sealed": "the credential, as the vault has sealed it",
        "sealed_with": "the check value of the secret key that sealed it",
        "created_at": "",
        "updated_at": "",
        "metadata": "a JSON object: what the app notes about it, in plain text",
    },
    "keyguard_sessions": {
        "lookup": "the digest of what the person's browser holds, with its scheme",
        "owner_id": "who has signed in",
        "created_at": "",
        "expires_at": "the session is good before this moment, and not at it",
    },
}
"""What each column holds, where its name does not say it."""


def schema_table(name: str) -> str:
    """The columns of one table, from the store's metadata."""
    table: Table = SQLStore("sqlite+aiosqlite://").metadata.tables[name]
    rows = []
    for column in table.columns:
        marks = ["primary key"] if column.primary_key else [] if not column.nullable else ["may be NULL"]
        marks += [f"refers to `{key.target_fullname}`" for key in column.foreign_keys]
        meaning = MEANINGS[name][column.name]
        rows.append([f"`{column.name}`", f"{column.type!s}", "; ".join([*([meaning] if meaning else []), *marks])])
    return _table(["column", "type", "what it holds"], rows)


def scaling_table() -> str:
    """What N hosts with M workers each ask of a PostgreSQL server, by the formulas that the benchmark holds to one."""
    loads = [Load(hosts=hosts, workers_each=workers) for hosts, workers in SHAPES]
    rows = [[label, *(_figure(getattr(load, name)) for load in loads)] for name, label in SCALING.items()]
    return _table(["hosts x workers of each", *(load.name for load in loads)], rows)


SCALING = {
    "workers": "workers",
    "listening": "connections that listen",
    "pooled": "connections that read and write, at most",
    "connections": "all connections, at most",
    "renewals": "renewals of leases, per second",
    "statements": "statements for these, per second",
    "transactions_a_day": "transaction numbers that these use up, per day",
    "acknowledgements": "acknowledgements of one change",
    "statements_of_a_change": "statements for these",
    "flushes": "transactions that write counted uses, per second, at most",
}
"""The attributes of `Load`, in the words of the manual."""


# --- the command line -------------------------------------------------------------------------------------------

ALWAYS = ("--database", "--store", "--json", "--verbose")
"""The options that stand in one table for all commands."""


def commands() -> dict[str, Any]:
    """Every command by its name, such as ``key issue``, as Typer has made it."""
    return dict(_commands_of("", get_command(app)))


def _commands_of(path: str, members: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 Click's, or Typer's copy.
    for name in members.list_commands(None):
        found, full = members.commands[name], f"{path} {name}".strip()
        if hasattr(found, "commands"):
            yield from _commands_of(full, found)
        else:
            yield full, found


def command_table(name: str) -> str:
    """The arguments and options of one command, but for those that all have."""
    params = [param for param in commands()[name].params if param.opts[0] not in ALWAYS]
    return _table(["argument or option", "what it says"], [_param_row(param) for param in params])


def _has_own(name: str) -> bool:
    return any(param.opts[0] not in ALWAYS for param in commands()[name].params)


def always_table() -> str:
    """The options that commands have in common."""
    params = {param.opts[0]: param for param in get_command(app).params}
    return _table(["option", "what it says"], [_param_row(params[name]) for name in (*ALWAYS, "--version")])


def _param_row(param: Any) -> list[str]:  # noqa: ANN401 Likewise.
    if param.param_type_name == "argument":
        return [f"`{param.metavar}`", param.help]
    value = "" if param.is_flag else f" {param.metavar or 'TEXT'}"
    names = " / ".join(f"`{name}{value}`" for name in (*param.opts, *param.secondary_opts))
    default = param.default if param.default not in (None, "") and not param.is_flag else None
    notes = ["needed"] if param.required else [] if default is None else [f"`{default}` without it"]
    return [names, " ".join([param.help, *(f"({note})" for note in notes)])]


def exit_codes_table() -> str:
    """What each exit code says."""
    return _table(["exit code", "what it says"], [[f"{code:d}", meaning] for code, meaning in EXIT_CODES.items()])


EXIT_CODES = {
    ExitCode.DONE: "done",
    ExitCode.FOUND: "`doctor` found a problem, or `check --strict` a warning",
    ExitCode.USAGE: "the command line or a setting cannot be right, or what was asked for was not confirmed; "
    "nothing was done",
    ExitCode.NOT_FOUND: "no key, owner or credential is called so",
    ExitCode.CONFLICT: "a name or an id is taken, a key's state does not allow it, or this store cannot do it",
    ExitCode.MISMATCH: "database and program do not belong together: the tables are missing or of another version, or "
    "a pepper or a secret key is the wrong one",
    ExitCode.UNREACHABLE: "the database cannot be reached, or does not answer",
    ExitCode.UNEXPECTED: "a mistake in Keyguard itself; `--verbose` says where",
    ExitCode.NOT_PRINTED: "standard output cannot be written, as on a full disk",
    ExitCode.INTERRUPTED: "interrupted, with Ctrl-C",
}


def environment_table() -> str:
    """The variables that the command line reads."""
    vault = {
        KEY_VARIABLE: "the vault's secret keys, with blanks or line ends between them; the first seals",
        FILE_VARIABLE: "a file with the vault's secret keys, one a line; made, for you alone, where it is missing",
        "NO_COLOR": "if it is set, nothing is coloured",
    }
    return _table(["variable", "what it says"], [[f"`{name}`", about] for name, about in (VARIABLES | vault).items()])


_MILLION = 1_000_000


def _figure(value: float) -> str:
    """Write a number for people: with three figures from a million on."""
    if value >= _MILLION:
        return f"{value / _MILLION:.3g} million"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


TABLES: Mapping[str, Callable[[], str]] = {
    **{f"policy-{kind.value}": lambda kind=kind: policy_table(kind) for kind in Requirement},
    "policy-auto-login-user": auto_login_user_table,
    "policy-require": require_table,
    "refusals": refusals_table,
    "answers": answers_table,
    **{f"schema-{name}": lambda name=name: schema_table(name) for name in MEANINGS},
    "scaling": scaling_table,
    **{f"cli-{name.replace(' ', '-')}": lambda name=name: command_table(name) for name in commands() if _has_own(name)},
    "cli-always": always_table,
    "cli-exit-codes": exit_codes_table,
    "cli-environment": environment_table,
}
"""What ``{code-table}`` knows, by name."""


def _outcome(decision: Decision) -> str:
    rule = f"rule {RULES[decision.rule]}"
    match decision:
        case Allowed(noted=None):
            return f"passes as {WHO[decision.principal.id]} ({rule})"
        case Allowed():
            return f"passes as {WHO[decision.principal.id]}, with a note in the log ({rule})"
        case Anonymous():
            return f"passes, anonymous ({rule})"
        case Refused():
            return f"{_answer(refusal_for(decision.reason))} ({rule})"


def _lack(reason: Reason | None) -> str:
    return "runs" if reason is None else _answer(refusal_for(reason))


def _answer(refusal: Refusal) -> str:
    return f"**{refusal.status}** `{refusal.code}`"


def _is_challenged(refusal: Refusal, challenge: Challenge) -> bool:
    return any(name == b"www-authenticate" for name, _ in refusal.headers(challenge, query_was_used=False))


def _grid(corner: str, cells: Mapping[str, Mapping[str, str]], *, anything: str) -> str:
    """Write a table of which neighbours that are equal, rows or columns, stand together."""
    modes = list(next(iter(cells.values())))
    columns = _runs(modes, key=lambda mode: [row[mode] for row in cells.values()])
    rows = _runs(list(cells), key=lambda name: [cells[name][mode] for mode in modes])
    heads = ["in every mode"] if len(columns) == 1 else [", or ".join(column) for column in columns]
    labels = [anything] if len(rows) == 1 else [_list(row) for row in rows]
    return _table(
        [corner, *heads],
        [[label, *(cells[row[0]][column[0]] for column in columns)] for label, row in zip(labels, rows, strict=True)],
    )


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else "<br>".join(f"• {name}" for name in names)


def _runs(names: Sequence[str], key: Callable[[str], object]) -> list[list[str]]:
    runs = [[names[0]]]
    for before, name in pairwise(names):
        if key(name) == key(before):
            runs[-1].append(name)
        else:
            runs.append([name])
    return runs


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
