"""Global variables: what the API says of them, and that a row and its sealed value stay together."""

import asyncio
import uuid
from datetime import datetime

import pytest
from langflow_accounts import add_user, call
from langflow_serving import ONE_DATABASE, PATIENCE
from sqlalchemy.exc import IntegrityError

from keyguard import StoreUnavailable
from langflow_server import variables
from langflow_server.problems import BadRequest, Missing
from langflow_server.variables import VariableType

CREDENTIAL, GENERIC = VariableType.CREDENTIAL, VariableType.GENERIC


@pytest.fixture
def user(server):
    return add_user(server)


def add(server, user, name="KEY", value="a value", **more):
    return call(server, "POST", "/variables/", user.session, json={"name": name, "value": value, **more})


def change(server, user, variable, **changes):
    return call(server, "PATCH", f"/variables/{variable['id']}", user.session, json=changes)


def listed(server, user):
    return call(server, "GET", "/variables/", user.session).json()


# --- over HTTP ----------------------------------------------------------------------------------------------------


def test_a_generic_variable_is_shown_as_it_was_given(server, user):
    """The answer is 201 with all that there is to know, and the list says the same."""
    answer = add(server, user, "GREETING", "Hello", type="Generic", default_fields=["Text"])
    assert answer.status_code == 201
    said = answer.json()
    assert said == {
        "id": str(uuid.UUID(said["id"])),
        "name": "GREETING",
        "type": "Generic",
        "value": "Hello",
        "default_fields": ["Text"],
        "created_at": said["created_at"],
        "updated_at": said["created_at"],
    }
    assert datetime.fromisoformat(said["created_at"]).tzinfo is not None
    assert listed(server, user) == [said]


def test_a_credential_is_never_given_back(server, user):
    """Whatever answers speaks of a Credential, its value is null, and is not in the answer at all."""
    canary = "sk-never-given-back"
    added = add(server, user, value=canary, type="Credential")
    answers = [
        added,
        call(server, "GET", "/variables/", user.session),
        change(server, user, added.json(), name="OTHER"),
        change(server, user, added.json(), value=f"{canary}-2"),
    ]
    for answer in answers:
        assert answer.status_code in (200, 201)
        assert canary not in answer.text
        each = answer.json()
        assert (each[0] if isinstance(each, list) else each)["value"] is None


@ONE_DATABASE
@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"name": "", "value": "v"}, 400, "needs a name"),
        ({"name": " \t", "value": "v"}, 400, "needs a name"),
        ({"name": "N", "value": ""}, 400, "needs a value"),
        ({"name": "N" * 256, "value": "v"}, 400, "255 characters"),
        ({"name": "N\nN", "value": "v"}, 400, "printable"),
        ({"name": "N", "value": "v" * 65537}, 400, "65536 bytes"),
        ({"name": "N", "value": "v", "default_fields": ["f"] * 101}, 422, "more than 100"),
        ({"name": "N", "value": "v", "type": "Secret"}, 422, "Credential"),
        ({"name": "N", "value": "v", "default_fields": "Text"}, 422, "list"),
        ({"name": "N", "value": "v\0"}, 422, "U+0000"),
        ({"name": "N"}, 422, "required"),
        ({"value": "v"}, 422, "required"),
    ],
)
def test_what_cannot_be_a_variable_is_refused(server, user, body, status, says):
    """An empty name or value, one that is too long, and a type that there is not, are refused and leave nothing."""
    answer = call(server, "POST", "/variables/", user.session, json=body)
    assert answer.status_code == status
    assert says in answer.text
    assert listed(server, user) == []


def test_no_two_variables_of_a_user_have_one_name(server, user):
    """A taken name is 400 for a new variable and for another that is to be renamed; another user may have it."""
    first, second = add(server, user, "ONE").json(), add(server, user, "TWO").json()
    for answer in (add(server, user, "ONE"), change(server, user, second, name="ONE")):
        assert answer.status_code == 400
        assert answer.json() == {"detail": "There is a variable 'ONE' already."}
    assert [each["name"] for each in listed(server, user)] == ["ONE", "TWO"]
    assert change(server, user, first, name="ONE").status_code == 200
    assert add(server, add_user(server), "ONE").status_code == 201


def test_what_is_not_given_stays(server, user):
    """Each of name, value and fields is changed alone; the time of the change moves and that of the making stays."""
    old = add(server, user, "OLD", "before", type="Generic", default_fields=["Text"]).json()
    for changes in ({"name": "NEW"}, {"value": "after"}, {"default_fields": ["OpenAI API Key"]}, {"type": "Generic"}):
        new = change(server, user, old, **changes)
        assert new.status_code == 200
        assert new.json() == old | changes | {"updated_at": new.json()["updated_at"]}
        assert new.json()["updated_at"] > old["updated_at"]
        old = new.json()


def test_another_type_needs_another_value(server, user):
    """Or what was secret would be shown: without a value it is 400, and with one the old value is gone."""
    secret = add(server, user, "SECRET", "sk-canary", type="Credential").json()
    refused = change(server, user, secret, type="Generic")
    assert refused.status_code == 400
    assert "Another type needs another value" in refused.text
    shown = change(server, user, secret, type="Generic", value="public").json()
    assert (shown["type"], shown["value"]) == ("Generic", "public")
    assert change(server, user, shown, type="Credential").status_code == 400
    assert change(server, user, shown, type="Credential", value="sk-2").json()["value"] is None


def test_anothers_variable_is_not_there(server, user):
    """Another user's variable, that of a superuser too, gets the answer of one that never was, and stays as it is."""
    theirs = add(server, add_user(server, is_superuser=True), value="theirs", type="Generic").json()
    for variable in (theirs, {"id": str(uuid.uuid4())}):
        for answer in (
            change(server, user, variable, value="mine"),
            call(server, "DELETE", f"/variables/{variable['id']}", user.session),
        ):
            assert answer.status_code == 404
            assert answer.json() == {"detail": "There is no such variable."}
    assert listed(server, user) == []
    assert change(server, user, {"id": "no-uuid"}, value="v").status_code == 422


def test_a_removed_variable_is_gone(server, user):
    """The answer is 204 without a word, once; then the name is free again."""
    variable = add(server, user, type="Credential").json()
    path = f"/variables/{variable['id']}"
    answer = call(server, "DELETE", path, user.session)
    assert (answer.status_code, answer.content) == (204, b"")
    assert call(server, "DELETE", path, user.session).status_code == 404
    assert listed(server, user) == []
    assert add(server, user).status_code == 201


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_variables_are_for_those_who_are_let_in(server, method):
    """Without a key and a session each method is 403."""
    path = "/variables/" if method in ("GET", "POST") else f"/variables/{uuid.uuid4()}"
    assert call(server, method, path, json={"name": "N", "value": "v"}).status_code == 403


# --- a row and its value ------------------------------------------------------------------------------------------


async def sealed_names(server, user_id):
    return [each.name for each in await server.vault.list(user_id)]


async def the_row(server, user_id):
    (variable,) = await variables.list_variables(server, user_id)
    return variable


async def test_many_who_add_one_name_at_once(opened):
    """One of them has added it, all others are told that it is taken, and the value is the one that was added."""
    server, user = opened

    async def added(value):
        try:
            await variables.add_variable(server, user, "KEY", value, type=CREDENTIAL)
        except BadRequest:
            return None
        return value

    async with asyncio.timeout(PATIENCE):
        values = await asyncio.gather(*(added(f"value {number}") for number in range(8)))
    (won,) = [value for value in values if value is not None]
    row = await the_row(server, user)
    assert await variables.value_of(server, user, row) == won
    assert await sealed_names(server, user) == [row.sealed_as]


async def test_many_who_change_one_variable_at_once(opened):
    """Whoever was last, the row and the value are of one change: a shown value is a Generic one's, a sealed one's not.

    And nothing of the others is left in the vault.
    """
    server, user = opened
    variable = await variables.add_variable(server, user, "KEY", "first", type=CREDENTIAL)

    async def changed(number):
        kind = CREDENTIAL if number % 2 else GENERIC
        prefix = "secret" if kind is CREDENTIAL else "shown"
        await variables.change_variable(server, user, variable.id, value=f"{prefix} {number}", type=kind)

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(changed(number) for number in range(8)))
    row = await the_row(server, user)
    value = await variables.value_of(server, user, row)
    assert value.startswith("secret" if row.type is CREDENTIAL else "shown")
    assert (row.value is None) is (row.type is CREDENTIAL)
    assert await sealed_names(server, user) == ([row.sealed_as] if row.sealed_as else [])


async def test_who_reads_while_it_is_changed_gets_a_value_that_it_had(opened):
    """A reader whose row was read before a change gets the value from before or after it, and no error."""
    server, user = opened
    before = await variables.add_variable(server, user, "KEY", "before", type=CREDENTIAL)
    await variables.change_variable(server, user, before.id, value="after")
    assert await variables.value_of(server, user, before) == "after"
    await variables.change_variable(server, user, before.id, value="shown", type=GENERIC)
    assert await variables.value_of(server, user, before) == "shown"


async def test_a_variable_that_is_removed_while_it_is_changed(opened):
    """Either it is gone and the change is told so, or the change was first; in both cases nothing is left of it."""
    server, user = opened
    variable = await variables.add_variable(server, user, "KEY", "first", type=CREDENTIAL)
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(
            variables.remove_variable(server, user, variable.id),
            *(variables.change_variable(server, user, variable.id, value=f"value {number}") for number in range(4)),
            return_exceptions=True,
        )
    assert outcomes[0] is None
    assert all(isinstance(outcome, variables.Variable | Missing) for outcome in outcomes[1:])
    assert await variables.list_variables(server, user) == []
    assert await sealed_names(server, user) == []


async def test_a_credential_without_a_value_is_a_clear_error(opened):
    """If the vault has lost it, whoever uses it is told which and what to do; giving it a value again mends it."""
    server, user = opened
    variable = await variables.add_variable(server, user, "KEY", "lost", type=CREDENTIAL)
    await server.vault.remove(user, variable.sealed_as)
    with pytest.raises(BadRequest, match=r"The Credential 'KEY' has no value any more. Give it one."):
        await variables.value_of(server, user, variable)
    await variables.change_variable(server, user, variable.id, value="found")
    assert await variables.value_of(server, user, await the_row(server, user)) == "found"


async def test_a_value_that_does_not_open_is_a_clear_error(opened):
    """One that was sealed for another name, as by a hand in the database, is refused by name and not quoted."""
    server, user = opened
    variable = await variables.add_variable(server, user, "KEY", "mine", type=CREDENTIAL)
    other = await server.vault.seal(user, "other", "sk-canary")
    async with server.database.begin() as connection:
        await connection.exec_driver_sql(
            "UPDATE keyguard_credentials SET sealed = ? WHERE name = ?", (other.sealed, variable.sealed_as)
        )
    with pytest.raises(BadRequest, match=r"The value of the Credential 'KEY' does not open. Give it again."):
        await variables.value_of(server, user, variable)


async def broken(server, table, event):
    """Let the database refuse whatever is done to a table."""
    async with server.database.begin() as connection:
        await connection.exec_driver_sql(
            f"CREATE TRIGGER broken BEFORE {event} ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END"
        )


async def test_a_failed_seal_leaves_the_row_and_the_value_as_they_were(opened):
    """If the vault cannot take a new value, the old one stays in use, and no variable without a value is made."""
    server, user = opened
    variable = await variables.add_variable(server, user, "KEY", "old", type=CREDENTIAL)
    await broken(server, "keyguard_credentials", "INSERT")
    with pytest.raises(StoreUnavailable, match="broken"):
        await variables.change_variable(server, user, variable.id, name="NEW", value="new")
    with pytest.raises(StoreUnavailable, match="broken"):
        await variables.add_variable(server, user, "ANOTHER", "value", type=CREDENTIAL)
    row = await the_row(server, user)
    assert (row.name, row.sealed_as) == ("KEY", variable.sealed_as)
    assert await variables.value_of(server, user, row) == "old"


async def test_a_failed_row_leaves_the_old_value_in_use(opened):
    """If the row cannot be written when the new value is sealed, the old one is still the row's."""
    server, user = opened
    variable = await variables.add_variable(server, user, "KEY", "old", type=CREDENTIAL)
    await broken(server, "langflow_variables", "UPDATE")
    with pytest.raises(IntegrityError, match="broken"):
        await variables.change_variable(server, user, variable.id, value="new")
    assert await variables.value_of(server, user, await the_row(server, user)) == "old"


async def test_the_user_who_is_gone_has_no_variables(opened):
    """A Credential for a user who was removed a moment ago is `Missing`, and no row is made."""
    server, _ = opened
    with pytest.raises(Missing):
        await variables.add_variable(server, "nobody", "KEY", "value", type=CREDENTIAL)
    assert await variables.list_variables(server, "nobody") == []


async def test_only_what_is_not_secret_is_a_text_of_a_flow(opened):
    """For a field that is shown, a Generic variable gives its value; a Credential and an unknown name are refused."""
    server, user = opened
    await variables.add_variable(server, user, "SHOWN", "hello", type=GENERIC)
    await variables.add_variable(server, user, "SECRET", "sk-canary", type=CREDENTIAL)
    assert await variables.text_of(server, user, "SHOWN") == "hello"
    with pytest.raises(BadRequest, match="'SECRET' is a Credential, and only a field that is secret may use it"):
        await variables.text_of(server, user, "SECRET")
    with pytest.raises(BadRequest, match="There is no variable 'NONE'"):
        await variables.text_of(server, user, "NONE")
