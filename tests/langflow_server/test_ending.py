"""The server is told to end while it is busy."""

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException

import pytest
from langflow_accounts import call, session_of
from langflow_flows import chat, unique
from langflow_provider import providing
from langflow_serving import PASSWORD, PATIENCE, SUPERUSER, serving
from leaks import WATCH

CALLERS = 4
STREAMS = 3


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_what_is_under_way_ends_well_and_is_counted(request, tmp_path, backend):
    """On SIGTERM both workers answer what they have begun; the next start knows of each use that was answered."""
    told = {}
    if backend == "postgres":
        told["LANGFLOW_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    with providing() as provider, ThreadPoolExecutor(CALLERS + STREAMS) as threads:
        with serving(tmp_path, workers=2, OPENAI_BASE_URL=provider.url, **told) as server:
            session = session_of(server, SUPERUSER, PASSWORD)
            key = call(server, "POST", "/api_key/", session, json={"name": "busy"}).json()["api_key"]
            WATCH.key(key)
            flow = call(server, "POST", "/flows/", session, json={"name": "slow", "data": chat("streams")}).json()
            texts = [f"say: {unique('first')} last" for _ in range(STREAMS)]
            begun = threading.Semaphore(0)
            streams = [threads.submit(listen, server, key, flow, text, begun) for text in texts]
            callers = [threads.submit(ask_on_and_on, server, key, begun) for _ in range(CALLERS)]
            for _ in range(STREAMS + CALLERS):
                assert begun.acquire(timeout=PATIENCE)

            server.process.send_signal(signal.SIGTERM)
            answered = [caller.result(PATIENCE) for caller in callers]  # Their connections are closed.
            assert server.process.poll() is None, server.log  # Streams are under way.
            for text in texts:
                provider.go_on(text)
            for stream, text in zip(streams, texts, strict=True):
                assert stream.result(PATIENCE) == text.removeprefix("say: ")
            assert server.process.wait(PATIENCE) == 0, server.log

        with serving(tmp_path, **told) as server:
            session = session_of(server, SUPERUSER, PASSWORD)
            (listed,) = call(server, "GET", "/api_key/", session).json()["api_keys"]
            assert listed["total_uses"] == sum(answered) + STREAMS


def listen(server, key, flow, text, begun):
    """Run a flow as a stream; return the text that came in the end, in the event that ends it."""
    path, headers = f"/api/v1/run/{flow['id']}?stream=true", {"x-api-key": key}
    with server.client() as client, client.stream("POST", path, headers=headers, json={"input_value": text}) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if (name, value) == ("event", "token"):
                begun.release()
            elif name == "data":
                data = json.loads(value)
    return data["result"]["outputs"][0]["outputs"][0]["results"]["message"]["text"]


def ask_on_and_on(server, key, begun):
    """Run the sample flow again and again over one connection until that is closed; return how often it answered."""
    answered = 0
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.connect()
    connection.auto_open = 0  # Who came anew would wait: the port stays open until the last worker has ended.
    headers = {"x-api-key": key, "content-type": "application/json"}
    with closing(connection):
        while True:
            try:
                connection.request("POST", "/api/v1/run/sample", '{"input_value": "busy"}', headers)
                answer = connection.getresponse()
                told = answer.read()
            except (HTTPException, OSError):
                return answered
            assert answer.status == 200, told
            answered += 1
            if answered == 5:
                begun.release()
