"""A client that sends exactly the bytes it is given, over a socket of its own."""

import base64
import json
import socket
import struct
from dataclasses import dataclass

HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {base64.b64encode(b'sixteen letters!').decode()}",
)
NO_BODY = {101, 204, 304}


@dataclass
class Reply:
    """What a server answered; `message` is the first one of an accepted WebSocket."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    raw: bytes
    message: bytes = b""

    def header(self, wanted):
        return [value for name, value in self.fields if name == wanted]

    @property
    def report(self):
        """What the endpoint saw, or nothing where it was not one of ours that answered."""
        try:
            found = json.loads(self.message or self.body)
        except ValueError:
            return {}
        return found if "endpoint" in found else {}

    @property
    def endpoint(self):
        return self.report.get("endpoint")

    @property
    def code(self):
        """The stable code of a refusal."""
        return json.loads(self.body)["code"]

    @property
    def constant(self):
        """All of it but what a server adds by itself and changes with the time."""
        return self.status, [field for field in self.fields if field[0] != "date"], self.body


class Closed(Exception):
    """The server ended the connection instead of answering."""


class Wire:
    """One connection to a server on this machine."""

    def __init__(self, port, *, patience=10.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=patience)
        self._received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, raw):
        self.socket.sendall(raw)

    def reply(self, method="GET"):
        head = self.until(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")[:-2]
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        known = dict(fields)
        status = int(start.split(" ")[1])
        if method == "HEAD" or status in NO_BODY or (method == "CONNECT" and status < 300):
            body = b""
        elif "content-length" in known:
            body = self.exactly(int(known["content-length"]))
        elif known.get("transfer-encoding") == "chunked":
            body = b"".join(self.chunks())
        else:
            body = self.rest()
        return Reply(status, fields, body, head + body)

    def chunks(self):
        while size := int(self.until(b"\r\n"), 16):
            yield self.exactly(size)
            self.until(b"\r\n")
        self.until(b"\r\n")

    def frame(self):
        """One frame of a WebSocket, which servers do not mask."""
        first, length = self.exactly(2)
        if length == 126:
            (length,) = struct.unpack("!H", self.exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.exactly(8))
        return first & 0x0F, self.exactly(length)

    def until(self, end):
        while end not in self._received:
            self._more()
        found, self._received = self._received.split(end, 1)
        return found + end

    def exactly(self, size):
        while len(self._received) < size:
            self._more()
        found, self._received = self._received[:size], self._received[size:]
        return found

    def rest(self):
        try:
            while True:
                self._more()
        except Closed:
            found, self._received = self._received, b""
            return found

    def _more(self):
        try:
            received = self.socket.recv(65536)
        except ConnectionError as problem:
            raise Closed(repr(problem)) from problem
        if not received:
            raise Closed("no more bytes")
        self._received += received


def request(target, *fields, method="GET", shape=None, body=b"", close=True):
    """The bytes of a request. Targets and fields may be texts, whose characters are then the bytes."""
    lines = [_bytes(method) + b" " + _bytes(target) + b" HTTP/1.1", b"Host: host.example"]
    lines += [_bytes(field) for field in fields]
    lines += [f"X-Shape: {shape}".encode()] if shape else []
    lines += [b"Connection: close"] if close else []
    lines += [b"Content-Length: %d" % len(body)] if body else []
    return b"\r\n".join([*lines, b"", body])


def ask(port, target, *fields, method="GET", patience=10.0, **more):
    """One request on a connection of its own."""
    with Wire(port, patience=patience) as wire:
        wire.send(request(target, *fields, method=method, **more))
        return wire.reply(method)


def shake_hands(port, target, *fields, shape=None, patience=10.0):
    """One WebSocket handshake, and the first message if it was accepted."""
    with Wire(port, patience=patience) as wire:
        wire.send(request(target, *HANDSHAKE, *fields, shape=shape, close=False))
        reply = wire.reply()
        if reply.status == 101:
            opcode, reply.message = wire.frame()
            assert opcode == 1, reply
        return reply


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")
