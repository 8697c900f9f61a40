"""People with flows and variables, the same ones each time: what the pages are looked at with, and photographed."""

from dataclasses import dataclass

from langflow_serving import PASSWORD, SUPERUSER

MODEL = {
    "nodes": [
        {"id": "ChatInput-1", "type": "ChatInput", "fields": {}},
        {
            "id": "LanguageModel-1",
            "type": "LanguageModel",
            "fields": {"provider": "OpenAI", "model": "gpt-4o-mini", "system": "Answer in one sentence."},
        },
        {"id": "ChatOutput-1", "type": "ChatOutput", "fields": {}},
    ],
    "edges": [
        {"source": "ChatInput-1", "target": "LanguageModel-1", "field": "prompt"},
        {"source": "LanguageModel-1", "target": "ChatOutput-1", "field": "text"},
    ],
}
"""A flow that cannot run for want of a credential."""

VARIABLES = [
    {"name": "MISTRAL_API_KEY", "type": "Credential", "value": "of no use", "default_fields": ["Mistral API Key"]},
    {"name": "GREETING", "type": "Generic", "value": "Welcome to the support of Example Ltd."},
]

OTHERS = ("bob", "carla", "dmitri", "eva", "farid")


@dataclass(frozen=True)
class Somebody:
    """A person who is in every state's list, and what of theirs has an address."""

    id: str
    name: str
    password: str


@dataclass(frozen=True)
class Samples:
    """Whom there is: one with flows, variables and keys, one without anything, and the superuser."""

    ada: Somebody
    noor: Somebody
    root: Somebody
    other: Somebody
    """One of whom no more than a page is seen."""
    flows: dict[str, str]
    """The ids of Ada's flows, by name."""
    variables: dict[str, str]
    """The ids of her variables."""


def fill(server):
    """Have the server add them, as programs do."""
    with server.client() as client:
        root = _signed_in(client, SUPERUSER, PASSWORD)
        people = {
            name: _add(client, root, "/users/", username=name, password=f"the password of {name}")
            for name in ("ada", "noor", *OTHERS)
        }
        _sent(client.patch(f"/api/v1/users/{people['dmitri']['id']}", json={"is_active": False}, headers=root))
        whoami = client.get("/api/v1/users/whoami", headers=root).json()
        ada = _signed_in(client, "ada", "the password of ada")
        client.post("/flows/sample", headers=ada)
        _add(client, ada, "/flows/", name="Ask a model", description="Passes the text on to OpenAI.", data=MODEL)
        flows = {flow["name"]: flow["id"] for flow in client.get("/api/v1/flows/", headers=ada).json()}
        variables = {each["name"]: _add(client, ada, "/variables/", **each)["id"] for each in VARIABLES}
        for name in ("CI pipeline", "Nightly report"):
            _sent(client.post("/api/v1/api_key/", json={"name": name}, headers=ada))
    return Samples(
        ada=_somebody(people["ada"]),
        noor=_somebody(people["noor"]),
        root=Somebody(whoami["id"], SUPERUSER, PASSWORD),
        other=_somebody(people["carla"]),
        flows=flows,
        variables=variables,
    )


def _somebody(user):
    return Somebody(user["id"], user["username"], f"the password of {user['username']}")


def _signed_in(client, name, password):
    answer = _sent(client.post("/api/v1/login", data={"username": name, "password": password}))
    client.cookies.clear()  # Each request says itself who asks.
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def _add(client, headers, path, **members):
    return _sent(client.post(f"/api/v1{path}", json=members, headers=headers)).json()


def _sent(answer):
    assert answer.is_success, answer.text
    return answer
