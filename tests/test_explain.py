"""Explanations: the same answer as a request gets, and which rule gives it."""

import logging
from datetime import timedelta
from itertools import product

import pytest
from asgi import connect, send_scope

from keyguard import ConfigurationError, KeyFormat, KeyGuard, Keyring, PathRule, Policy, Principal, lifecycle
from keyguard.errors import StoreUnavailable
from keyguard.explain import explain, request, with_key
from keyguard.model import Reason, Requirement, Rule, Source
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON, FrozenClock

ORDER = [
    {Rule.EXEMPT},
    {Rule.KEY},
    {Rule.IDENTIFIED},
    {Rule.SKIP_AUTH},
    {Rule.AMBIGUOUS},
    {Rule.BAD_KEY},
    {Rule.AUTO_LOGIN, Rule.OPTIONAL, Rule.NO_KEY},
]
"""The rules as the manual numbers them."""


async def app(scope, receive, send):
    """Answer 200 to whoever is let in, with the name of the caller."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    name = scope["user"].display_name.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": name})


class Unreachable(MemoryStore):
    """A store that does not answer."""

    async def find(self, lookups):
        raise StoreUnavailable("the disk is full")


class Keys:
    """A store with a key of each kind, each by the word for it."""

    def __init__(self, store):
        self.store = store
        self.clock = FrozenClock()
        self.text = {"malformed": "kg_nothing", "empty": ""}
        self.id = {}

    async def fill(self):
        clock, store = self.clock, self.store
        ada = await lifecycle.add_owner(store, "ada", is_superuser=True, clock=clock)
        idle = await lifecycle.add_owner(store, "idle", clock=clock)
        await lifecycle.deactivate(store, idle)
        await lifecycle.add_owner(store, "auto", is_superuser=True, clock=clock)
        for name, arguments in {
            "good": {},
            "limited": {"scopes": ["flows:read"]},
            "early": {"not_before": NOON + timedelta(days=1)},
            "expired": {"expires_at": NOON + timedelta(minutes=1)},
            "bound": {"networks": ["198.51.100.0/24"]},
            "near": {"networks": ["192.0.2.0/24"]},
            "revoked": {"name": "the revoked one"},
            "disabled": {},
        }.items():
            await self.issue(name, ada, **arguments)
        await self.issue("idle", idle)
        await lifecycle.revoke(store, self.id["revoked"], reason="found in a log", clock=clock)
        await lifecycle.disable(store, self.id["disabled"], clock=clock)
        self.text["unknown"] = lifecycle.mint(store.keyring)[0].reveal()
        clock.advance(timedelta(hours=1))
        return self

    async def issue(self, word, owner, **arguments):
        issued = await lifecycle.issue(self.store, owner, clock=self.clock, **arguments)
        self.text[word], self.id[word] = issued.key.reveal(), issued.record.id

    def guard(self, policy=Policy(), **arguments):  # noqa: B008 A frozen value.
        return KeyGuard(app, store=self.store, policy=policy, clock=self.clock, **arguments)


@pytest.fixture
async def keys():
    return await Keys(MemoryStore()).fill()


def asked(guard, method="GET", target="/flows", *, key=None, places=(), root_path=None, **arguments):
    root_path = guard.root_path if root_path is None else root_path
    scope = request(method, target, client="192.0.2.7", root_path=root_path, **arguments)
    return with_key(guard, scope, key, places)


def steps(explanation):
    return {step.what: step.found for step in explanation.steps}


def rules(explanation):
    return [step.found for step in explanation.steps if step.what.startswith("rule ")]


# --- the same answer --------------------------------------------------------------------------------------------

POLICIES = {
    "plain": {},
    "auto_login": {"auto_login": True},
    "as before 1.5": {"auto_login": True, "auto_login_needs_key": False},
    "skip_auth": {"skip_auth": True},
    "skip_auth and auto_login": {"skip_auth": True, "auto_login": True},
}
WORDS = [
    None, "good", "limited", "early", "expired", "bound", "near", "revoked", "disabled", "idle", "unknown", "malformed",
    "empty",
]  # fmt: skip
PLACES = {
    "header": [Source.HEADER],
    "query": [Source.QUERY],
    "twice": [Source.HEADER, Source.QUERY],
    "bearer": [Source.BEARER],
}


async def knows_carol(scope):
    return Principal(id="3", name="carol") if (b"x-session", b"carol") in scope["headers"] else None


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("auto_login_user", ["auto", "idle", "nobody"])
async def test_an_explanation_is_what_a_request_gets(keys, policy, auto_login_user):
    """Whatever the policy, the path, the key, its place and the caller: a request gets the answer explained."""
    seen = set()
    for word, place, target, session in product(WORDS, PLACES, ["/health", "/docs", "/flows"], [True, False]):
        guard = keys.guard(
            Policy(exempt=["/health"], optional=["/docs"], auto_login_user=auto_login_user, **POLICIES[policy]),
            bearer=True,
            identify=knows_carol,
        )
        headers = [("x-session", "carol")] if session else []
        scope = asked(guard, target=target, headers=headers, key=word and keys.text.get(word), places=PLACES[place])
        explanation = await explain(guard, scope)
        answer = await send_scope(guard, {**scope, "headers": list(scope["headers"])})
        assert explanation.passes == (answer.status == 200), (word, place, target)
        if explanation.refusal is not None:
            assert (explanation.refusal.status, explanation.refusal.code) == (answer.status, answer.json["code"])
        elif explanation.decision.rule in {Rule.EXEMPT, Rule.OPTIONAL}:
            assert answer.body == b""
        else:
            assert answer.body.decode() == explanation.decision.principal.name
        # One rule decides, the one that is named; all before it are answered with no.
        found = rules(explanation)
        assert explanation.decision.rule in ORDER[len(found) - 1]
        assert [each.partition(":")[0] for each in found] == ["no"] * (len(found) - 1) + ["decides"]
        seen.add(explanation.decision.rule)
    expected = {Rule.EXEMPT, Rule.KEY, Rule.IDENTIFIED}
    expected |= {Rule.SKIP_AUTH} if "skip_auth" in policy else {Rule.AMBIGUOUS, Rule.BAD_KEY}
    if "skip_auth" not in policy:
        expected |= {Rule.AUTO_LOGIN} if policy == "as before 1.5" else {Rule.OPTIONAL, Rule.NO_KEY}
    assert seen == expected


@pytest.mark.parametrize("word", ["good", "revoked"])
async def test_a_websocket_is_explained(keys, word):
    """A WebSocket is explained as one, and is answered that way."""
    guard = keys.guard(Policy(exempt=["/flows"]))
    scope = asked(guard, websocket=True, key=keys.text[word])
    explanation = await explain(guard, scope)
    answer = await connect(guard, "/flows", headers=[("x-api-key", keys.text[word])])
    assert explanation.passes == ("websocket.accept" in answer.types) == (word == "good")
    assert steps(explanation)["request"] == "WebSocket /flows from 192.0.2.7"
    assert steps(explanation)["path"] == (
        "guarded; the exempt entry '/flows' does not apply, because it does not speak of WebSockets"
    )


# --- guards in one another --------------------------------------------------------------------------------------


def knows_who_came(scope):
    """Take for the caller whom the guard further out has let in."""
    user = scope.get("user")
    return Principal(id="4", name=f"{user.name} again") if isinstance(user, Principal) else None


NESTED = {
    "plain": {},
    "kept": {"strip": False},
    "exempt": {"policy": Policy(exempt=["/flows"])},
    "optional": {"policy": Policy(optional=["/flows"])},
    "exempt and kept": {"policy": Policy(exempt=["/flows"]), "strip": False},
    "optional and kept": {"policy": Policy(optional=["/flows"]), "strip": False},
    "carol": {"identify": knows_carol},
    "as outside": {"identify": knows_who_came},
    "another header": {"header": "x-other"},
    "skip_auth": {"policy": Policy(skip_auth=True, auto_login_user="auto")},
}


@pytest.mark.parametrize("outside", NESTED)
async def test_a_guard_further_in_is_explained_as_a_request_meets_it(keys, outside):
    """Behind another guard, with its store or another, a request gets what is explained of both in their order."""
    elsewhere = await Keys(MemoryStore()).fill()
    found = set()
    for inside, (first, second) in product(NESTED, [(keys, keys), (keys, elsewhere), (elsewhere, keys)]):
        for word, session in product([None, "good", "revoked", "near"], [(), [("x-session", "carol")]]):
            inner = second.guard(**NESTED[inside])
            outer = KeyGuard(inner, store=first.store, clock=keys.clock, **NESTED[outside])
            arrived = request("GET", "/flows", client="192.0.2.7", headers=session)
            sent = with_key(outer, arrived, word and keys.text[word])
            explained = [await explain(outer, sent)]
            if explained[0].passes:
                explained.append(await explain(inner, {**arrived, **explained[0].handed_on}))
            answer = await send_scope(outer, {**sent, "headers": list(sent["headers"])})
            last = explained[-1]
            assert answer.status == (last.refusal.status if last.refusal else 200), (inside, word, session)
            if last.passes:
                assert answer.body.decode() == getattr(getattr(last.decision, "principal", None), "name", "")
            else:
                assert last.handed_on == {}
            found.add((len(explained), last.passes))
    assert (2, True) in found


async def test_what_is_said_of_a_guard_further_in(keys):
    """It is said of a guard that it goes by what another has found, and of the key as much as there."""
    inner = keys.guard()
    outer = KeyGuard(inner, store=keys.store, clock=keys.clock)
    explanation = await explain(outer, asked(outer, key=keys.text["good"]))
    further = await explain(inner, {**asked(inner), **explanation.handed_on})
    assert steps(further)["where keys are looked for"].endswith(
        "no key; what the guard further out has found counts here as well, for both have the same store"
    )
    assert steps(further)["store"] == steps(explanation)["store"]
    assert keys.text["good"] not in repr(explanation)


# --- why --------------------------------------------------------------------------------------------------------


async def test_what_is_said_of_a_good_key(keys):
    """Each step says what was found, from the path to the outcome."""
    guard = keys.guard(Policy(exempt=["/health"]))
    explanation = await explain(guard, asked(guard, target="/flows?page=2", key=keys.text["limited"]))
    ada = f"'ada' (id {explanation.decision.principal.id})"
    hint = f"kg_{keys.id['limited'][:4]}…"
    assert [(step.what, step.found) for step in explanation.steps] == [
        ("request", "GET /flows from 192.0.2.7"),
        ("path", "guarded: no entry of exempt or optional speaks of it"),
        ("where keys are looked for", "the header x-api-key and the query parameter x-api-key: one key, in the header"),
        ("form of the key", "that of a key (kg_…)"),
        ("store", f"key {hint} (id {keys.id['limited']}) of 'ada': active"),
        ("rule 1, exempt path", "no: the path is guarded"),
        ("rule 2, a good key was given", "decides: passes"),
        ("outcome", f"PASSES as {ada}, without superuser rights, scopes: flows:read"),
        ("not looked at", "what the endpoint asks for beyond being let in"),
    ]


@pytest.mark.parametrize(
    ("word", "stored", "flaw"),
    [
        ("revoked", ": revoked; revoked 2026-03-01 12:00:00 UTC (found in a log)", "the key was revoked"),
        ("disabled", ": disabled; disabled 2026-03-01 12:00:00 UTC", "the key is disabled"),
        ("expired", ": expired; good until 2026-03-01 12:01:00 UTC", "the key has expired"),
        ("early", ": not yet valid; good from 2026-03-02 12:00:00 UTC", "the key is not valid yet"),
        ("idle", " of 'idle': active; its owner is not active", "the key's owner is not active"),
        (
            "bound",
            ": active; only from 198.51.100.0/24, and this comes from 192.0.2.7",
            "the key may not be used from this address",
        ),
        ("unknown", "there is no such key", "no such key"),
    ],
)
async def test_why_a_key_is_refused(keys, word, stored, flaw):
    """What is wrong with a key is said by the store's row, by rule 2, by the rule that refuses, and by the outcome."""
    guard = keys.guard()
    explanation = await explain(guard, asked(guard, key=keys.text[word]))
    found = steps(explanation)
    assert found["store"].endswith(stored)
    assert found["rule 2, a good key was given"] == f"no: {flaw}"
    assert found["rule 6, a bad key was given"] == f"decides: refused, because {flaw}"
    assert found["outcome"] == (
        f"REFUSED with 401 invalid_key: the caller reads {explanation.refusal.detail!r}; only the log says that {flaw}"
    )


async def test_no_store_is_asked_about_what_is_no_key():
    """Of a text that is no key it is said that no store was asked, and none was."""
    guard = Keys(Unreachable()).guard()
    explanation = await explain(guard, asked(guard, key="kg_nothing"))
    assert "the store is not asked" in steps(explanation)["form of the key"]
    assert explanation.decision.reason is Reason.MALFORMED


NEAR = [
    ("/HEALTH", {}, "the path is another one, character for character"),
    ("/health/", {}, "the path is another one, character for character"),
    ("/health/x", {}, "the path is another one, character for character"),
    ("/%68ealth", {}, "the path was sent percent-encoded"),
    ("//health", {}, "the path is not written in the one way in which a path can be exempt"),
    ("/a/../health", {}, "the path is not written in the one way in which a path can be exempt"),
    ("/health%2f", {}, "the path was sent percent-encoded"),
    ("/health", {"root_path": "/api"}, "the root_path is '/api' and not the declared ''"),
]


@pytest.mark.parametrize(("target", "arguments", "why"), NEAR)
async def test_why_a_path_is_not_exempt(keys, target, arguments, why):
    """Of a path that is nearly exempt it is said what keeps it from being so."""
    guard = keys.guard(Policy(exempt=["/health"]))
    explanation = await explain(guard, asked(guard, target=target, **arguments))
    assert explanation.requirement is Requirement.REQUIRED
    assert steps(explanation)["path"] == f"guarded; the exempt entry '/health' does not apply, because {why}"


async def test_methods_and_roots_have_their_say(keys):
    """A method that an entry does not speak of, and both ways of declaring a root, are explained."""
    guard = keys.guard(
        Policy(
            exempt=[PathRule(path="/x/*", methods={"GET"})], optional=[PathRule(path="/ws", methods=(), websocket=True)]
        ),
        root_path="/api",
    )
    assert steps(await explain(guard, asked(guard, target="/api/x/y")))["path"] == "exempt, by the entry '/x/*'"
    posted = steps(await explain(guard, asked(guard, "POST", target="/api/x/y")))["path"]
    assert posted == "guarded; the exempt entry '/x/*' does not apply, because it speaks of GET"
    assert "it speaks of WebSockets alone" in steps(await explain(guard, asked(guard, target="/api/ws")))["path"]
    opened = await explain(guard, asked(guard, target="/api/ws", websocket=True))
    assert steps(opened)["path"] == "optional, by the entry '/ws'"
    assert "no: the path is optional" in rules(opened)
    assert steps(await explain(guard, asked(guard, target="/x/y")))["path"].endswith(
        "because the path does not begin with the declared root_path '/api', as it does with uvicorn"
    )
    guard = keys.guard(Policy(exempt=["/api/x"]), root_path="/api", root_in_path=False)
    assert "which it is declared to leave out" in steps(await explain(guard, asked(guard, target="/api/x")))["path"]


async def test_what_is_said_of_places(keys):
    """It is said where keys are looked for, and what was found there; of an exempt path that nothing is looked at."""
    guard = keys.guard(Policy(exempt=["/health"]), bearer=True, query=None)
    found = steps(await explain(guard, asked(guard, target="/health", key=keys.text["good"])))
    looked = "the header x-api-key and the header authorization, as Bearer"
    assert found["where keys are looked for"] == f"{looked}: what stands there is taken out, and not looked at"
    assert "store" not in found
    found = steps(await explain(guard, asked(guard, headers=[("Authorization", "Bearer eyJ.abc")])))
    assert found["where keys are looked for"] == f"{looked}: no key, but a bearer token that is none"
    assert found["rule 3, the app's own sign-in knows the caller"] == "no: the guard was given no identify"
    places = [Source.HEADER, Source.BEARER]
    found = steps(await explain(guard, asked(guard, key=keys.text["good"], places=places)))
    assert found["where keys are looked for"].endswith("in the header and bearer")
    assert found["rule 5, ambiguous credentials"].startswith("decides: refused")


async def test_auto_login_is_explained(keys):
    """Where AUTO_LOGIN excuses nobody it is said so; where SKIP_AUTH lets a bad key pass, what was wrong with it."""
    guard = keys.guard(Policy(auto_login=True, auto_login_user="auto"))
    assert rules(await explain(guard, asked(guard)))[-1] == (
        "decides: refused, because no key was presented; "
        "auto_login signs people in, and excuses no request from its key"
    )
    guard = keys.guard(Policy(skip_auth=True, auto_login_user="auto"))
    assert rules(await explain(guard, asked(guard, key=keys.text["revoked"])))[-1] == (
        "decides: passes as the auto-login user, although the key was revoked"
    )
    explanation = await explain(guard, asked(guard))
    assert steps(explanation)["outcome"].endswith("with superuser rights, scopes: *")


async def test_an_outage_is_explained():
    """A store that cannot answer is a step of its own, and the request is refused with 503."""
    keys = Keys(Unreachable())
    guard = keys.guard()
    explanation = await explain(guard, asked(guard, key=lifecycle.mint(Keyring())[0].reveal()))
    found = steps(explanation)
    assert found["store"] == "it could not be asked"
    assert found["trouble"] == "the store is not available: the disk is full"
    assert found["rules"].startswith("cannot be asked")
    assert explanation.refusal.status == 503


async def test_a_store_that_does_not_close_is_explained():
    """What a store raises when it is closed takes nothing from the answer."""

    class Stuck(MemoryStore):
        is_open = False

        async def close(self):
            raise OSError

    guard = KeyGuard(app, store=Stuck())
    assert (await explain(guard, asked(guard))).decision.reason is Reason.MISSING


async def test_a_sign_in_that_fails_is_explained(keys):
    """What the app's own sign-in raises is named by its type alone."""

    def broken(scope):
        raise RuntimeError("a secret of the session")

    guard = keys.guard(identify=broken)
    explanation = await explain(guard, asked(guard))
    assert steps(explanation)["trouble"] == "identify failed: RuntimeError"
    assert explanation.decision.reason is Reason.UNAVAILABLE


# --- nothing is left behind -------------------------------------------------------------------------------------


async def test_nothing_is_left_behind(tmp_path, caplog):
    """Explaining counts no use, upgrades no digest, closes what it has opened, and tells neither log nor observer."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'keys.db'}"
    plain, peppered = SQLStore(url), SQLStore(url, keyring=Keyring(peppers=[b"a pepper of this test"]))
    await plain.create_schema()
    keys = await Keys(plain).fill()
    await plain.close()
    told = []
    guard = KeyGuard(app, store=peppered, observer=told.append, clock=keys.clock)
    before = await plain.get_key(keys.id["good"])
    for word in ("good", "revoked", None):
        await explain(guard, asked(guard, key=word and keys.text[word]))
        assert not peppered.is_open
    assert await plain.get_key(keys.id["good"]) == before
    assert await plain.get_uses([keys.id["good"]]) == {}
    assert [told, [record for record in caplog.records if record.levelno >= logging.WARNING]] == [[], []]
    await plain.close()


async def test_an_open_store_stays_open(keys):
    """A store that somebody else has opened is not closed."""
    await keys.store.open()
    guard = keys.guard()
    await explain(guard, asked(guard, key=keys.text["good"]))
    assert keys.store.is_open


async def test_the_scope_stays_as_it_is(keys):
    """The scope that was given is not changed, and the app's own sign-in sees no key."""
    seen = []
    guard = keys.guard(Policy(), identify=seen.append)
    scope = asked(guard, headers=[("X-Session", "1")], query=["page=2"])
    copy = {**scope, "headers": list(scope["headers"])}
    await explain(guard, scope)
    assert scope == copy
    assert [(each["headers"], each["query_string"]) for each in seen] == [([(b"x-session", b"1")], b"page=2")]


# --- making a request -------------------------------------------------------------------------------------------


async def test_keys_do_not_stand_among_headers_and_queries(keys):
    """A key among the headers, in the query or in the target is refused, however its name is written."""
    guard = keys.guard(bearer=True)
    good = keys.text["good"]
    for arguments in (
        {"headers": [("X-API-Key", good)]},
        {"headers": [("authorization", f"bearer {good}")]},
        {"query": [f"x-api-key={good}"]},
        {"query": [f"X-%41PI-Key={good}"]},
        {"target": f"/flows?x-api-key={good}"},
        {"headers": [("x-api-key", "")]},
    ):
        with pytest.raises(
            ConfigurationError, match="a key does not stand among the headers or in the query"
        ) as problem:
            asked(guard, **arguments)
        assert good not in str(problem.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"target": "flows"}, "begins with a slash"),
        ({"target": "/ä"}, "begins with a slash"),
        ({"target": "/a b"}, "begins with a slash"),
        ({"target": "/a\n"}, "begins with a slash"),
        ({"query": ["a=ä"]}, "a part of the query"),
        ({"query": ["a= "]}, "a part of the query"),
        ({"headers": [("ä", "x")]}, "a header's name"),
        ({"headers": [("x", "☃")]}, "a header's name"),
        ({"key": "kg_x", "places": [Source.BEARER]}, "looks for no key in the bearer"),
    ],
)
async def test_what_cannot_be_sent(keys, arguments, sentence):
    """What no client can send, or where the guard does not look, is refused, and it is said what is allowed."""
    with pytest.raises(ConfigurationError, match=sentence):
        asked(keys.guard(), **arguments)


async def test_a_key_is_put_where_the_guard_looks(keys):
    """Without a place a key stands in the first one that the guard looks in; any text can be sent in each."""
    assert asked(keys.guard(), key="k")["headers"] == [(b"x-api-key", b"k")]
    assert asked(keys.guard(header=None), key="k&/ä")["query_string"] == b"x-api-key=k%26%2F%C3%A4"
    guard = keys.guard(header=None, query=None, bearer=True)
    assert asked(guard, key="k")["headers"] == [(b"authorization", b"Bearer k")]


async def test_the_forms_of_keys_are_named():
    """It is said which forms of key are accepted; a path that could hold a key is shortened."""
    form = KeyFormat(prefix="sk-", alphabet="abcdef", min_length=43, max_length=43, entropy=112)
    keys = await Keys(MemoryStore(keyring=Keyring(prefix="lf", formats=[form]))).fill()
    guard = keys.guard()
    explanation = await explain(guard, asked(guard, key="sk-" + "a" * 43, target=f"/{keys.text['good']}"))
    assert steps(explanation)["form of the key"] == "that of a key (lf_…, sk-…)"
    assert steps(explanation)["request"] == "GET /… from 192.0.2.7"


async def test_where_a_request_comes_from_may_be_unknown(keys):
    """Behind a proxy that is trusted the address is the one that it names; without one it is not known."""
    guard = keys.guard(trusted_hops=1)
    found = steps(await explain(guard, asked(guard, key=keys.text["near"])))
    assert found["request"] == "GET /flows from an address that is not known"
    assert found["store"].endswith("this comes from nobody knows where")
    scope = asked(guard, key=keys.text["near"], headers=[("X-Forwarded-For", "192.0.2.9")])
    assert (await explain(guard, scope)).passes
