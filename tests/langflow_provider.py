"""A provider of language models on loopback, that answers as OpenAI does and writes down what it is sent.

How it answers is the model's name, so that tests share one and disturb each other in nothing:

    says          what the last message says after "say: ", or all of it; streamed in words if that was asked for
    streams       waits after the first word until `go_on` is called for it (by the last message's text)
    hangs         takes the request and says nothing; `hangs-inside` begins an answer and says no more
    listens       says one word, and no more; opens the gate when whoever asked has left; `listens-silently` says none
    dribbles      sends a blank, again and again
    refuses       401, and quotes the key as providers do; `fails` the same with 500
    not-json      200, and the key in a page; `no-text` an error with the key in JSON
    redirects     307 to `elsewhere`, another host
    endless       a body without end; `endless-stream` a stream of words without end
    stops         ends a stream after two words; `breaks` ends the connection inside of one
    error-inside  an error inside of a stream, which quotes the key
    sets-a-cookie says so, with a cookie
    zipped        a body that is compressed, though nobody asked for it
"""

import gzip
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE = 60.0
"""Seconds after which a conversation that nobody ends is given up."""


@dataclass(frozen=True)
class Asked:
    """One request that has arrived."""

    path: str
    authorization: str | None
    headers: dict
    body: dict

    @property
    def text(self):
        """What the user's message says."""
        return self.body["messages"][-1]["content"]


@dataclass
class Provider:
    """Where it listens, and what it was asked."""

    port: int
    host: str = "127.0.0.1"
    asked: list[Asked] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    """Set when somebody who was being answered has left."""
    elsewhere: str = ""
    _ended: threading.Event = field(default_factory=threading.Event)
    _gates: dict = field(default_factory=dict)

    @property
    def url(self):
        """What ``OPENAI_BASE_URL`` is to be."""
        return f"http://{self.host}:{self.port}/v1"

    def of(self, text):
        """The requests whose message has `text` in it."""
        return [each for each in self.asked if text in each.text]

    def key_for(self, text):
        """The credential that came with the only request whose message has `text` in it."""
        (asked,) = self.of(text)
        scheme, _, key = asked.authorization.partition(" ")
        assert scheme == "Bearer"
        return key

    def gate(self, text):
        """What `streams` waits for before the second word."""
        return self._gates.setdefault(text, threading.Event())

    def go_on(self, text):
        """Let the answer to that message go on."""
        self.gate(text).set()


@contextmanager
def providing(elsewhere=""):
    """Run a provider in a thread. What is still being said in the end is broken off."""

    class Handler(_Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        provider = Handler.provider = Provider(server.server_address[1], elsewhere=elsewhere)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            provider._ended.set()
            for gate in provider._gates.values():
                gate.set()
            server.shutdown()
            thread.join(PATIENCE)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: Provider

    def log_message(self, *_):
        """Write nothing to the terminal."""

    def do_GET(self):
        self._take({})
        self._document(404, {"error": {"message": "there is nothing"}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        asked = self._take(body)
        answer = getattr(self, "_" + body["model"].replace("-", "_"), None)
        try:
            if answer is None:
                self._document(404, {"error": {"message": f"no model {body['model']!r} for {asked.authorization}"}})
            else:
                answer(asked)
        except (BrokenPipeError, ConnectionResetError):
            self.provider.left.set()
            self.close_connection = True

    def _take(self, body):
        asked = Asked(self.path, self.headers.get("Authorization"), dict(self.headers), body)
        self.provider.asked.append(asked)
        return asked

    # --- as it should be ---

    def _says(self, asked):
        text = asked.text.rpartition("say: ")[2]
        if not asked.body.get("stream"):
            self._document(200, {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]})
            return
        self._begin_stream()
        first, *rest = text.split(" ")
        for words in (first, *(f" {word}" for word in rest)):
            self._event(_delta(words))
        self._event({"choices": [], "usage": {"total_tokens": 1}})
        self._end_stream()

    def _sets_a_cookie(self, asked):
        self.send_response(200)
        self.send_header("Set-Cookie", "who=first; Path=/")
        body = json.dumps({"choices": [{"message": {"content": asked.text}}]}).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _streams(self, asked):
        first, *rest = asked.text.rpartition("say: ")[2].split(" ")
        self._begin_stream()
        self._event(_delta(first))
        assert self.provider.gate(asked.text).wait(PATIENCE)
        for word in rest:
            self._event(_delta(f" {word}"))
        self._end_stream()

    # --- as it should not be ---

    def _hangs(self, _):
        self.provider._ended.wait(PATIENCE)
        self.close_connection = True

    def _hangs_inside(self, asked):
        if asked.body.get("stream"):
            self._begin_stream()
            self._event(_delta("half"))
        else:
            self._head(200, "application/json", "Transfer-Encoding", "chunked")
            self._chunk(b'{"choices": [')
        self._hangs(asked)

    def _listens(self, asked):
        self._begin_stream()
        self._event(_delta("half"))
        self._listens_silently(asked)

    def _listens_silently(self, asked):
        self.connection.settimeout(PATIENCE)
        if not self.connection.recv(1):
            self.provider.go_on(asked.text)
        self.close_connection = True

    def _dribbles(self, asked):
        self._head(200, "application/json", "Transfer-Encoding", "chunked")
        while not self.provider._ended.wait(0.05):
            self._chunk(b" ")
        del asked

    def _refuses(self, asked):
        self._document(401, {"error": {"message": f"Incorrect API key provided: {asked.authorization}"}})

    def _fails(self, asked):
        self._document(500, {"error": {"message": f"boom for {asked.authorization}"}})

    def _not_json(self, asked):
        self._send(200, "text/html", f"<p>{asked.authorization}".encode())

    def _no_text(self, asked):
        self._document(200, {"error": {"message": str(asked.authorization)}})

    def _redirects(self, asked):
        del asked
        self.send_response(307)
        self.send_header("Location", f"{self.provider.elsewhere}/chat/completions")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _endless(self, asked):
        self._head(200, "application/json", "Transfer-Encoding", "chunked")
        while not self.provider._ended.is_set():
            self._chunk(str(asked.authorization).encode() * 1000)

    def _endless_stream(self, asked):
        del asked
        self._begin_stream()
        while not self.provider._ended.is_set():
            self._event(_delta("word " * 10_000))

    def _stops(self, asked):
        self._begin_stream()
        for word in ("half ", "of "):
            self._event(_delta(word))
        self._chunk(b"")
        del asked

    def _breaks(self, asked):
        self._begin_stream()
        self._event(_delta("half"))
        self.close_connection = True
        del asked

    def _error_inside(self, asked):
        self._begin_stream()
        self._event(_delta("half"))
        self._event({"error": {"message": str(asked.authorization)}})
        self._end_stream()

    def _zipped(self, asked):
        text = json.dumps({"choices": [{"message": {"content": asked.text}}]})
        body = gzip.compress(text.encode())
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    # --- the parts ---

    def _document(self, status, document):
        self._send(status, "application/json", json.dumps(document).encode())

    def _send(self, status, media_type, body):
        self._head(status, media_type, "Content-Length", str(len(body)))
        self.wfile.write(body)

    def _head(self, status, media_type, name, value):
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header(name, value)
        self.end_headers()

    def _begin_stream(self):
        self._head(200, "text/event-stream", "Transfer-Encoding", "chunked")

    def _event(self, document):
        self._chunk(f"data: {json.dumps(document)}\n\n".encode())

    def _end_stream(self):
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _chunk(self, part):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))


def _delta(text):
    return {"choices": [{"index": 0, "delta": {"content": text}}]}
