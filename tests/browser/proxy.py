"""A reverse proxy that takes a prefix off the path, as nginx's `location /base/ { proxy_pass http://app/; }` does."""

import asyncio
from contextlib import asynccontextmanager

_MOST = 64 * 1024


@asynccontextmanager
async def below(prefix, port):
    """Pass on what is asked below `prefix` to a server on this machine; give the port that this is done at."""
    busy = set()

    async def pass_on(reader, writer):
        busy.add(asyncio.current_task())
        try:
            start, _, fields = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
            method, path, version = start.split(b" ")
            if not path.startswith(prefix.encode() + b"/"):
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            kept = [line for line in fields.split(b"\r\n") if line and not line.lower().startswith(b"connection:")]
            length = next((int(line[15:]) for line in kept if line.lower().startswith(b"content-length:")), 0)
            body = await reader.readexactly(length)
            there, back = await asyncio.open_connection("127.0.0.1", port, limit=_MOST)
            try:
                # One request for each connection: the answer then ends where the server closes it.
                lines = [b" ".join((method, path.removeprefix(prefix.encode()), version)), *kept, b"Connection: close"]
                back.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
                while chunk := await there.read(_MOST):
                    writer.write(chunk)
                await writer.drain()
            finally:
                back.close()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The browser went away, which it may at any time.
        finally:
            writer.close()
            busy.discard(asyncio.current_task())

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0, limit=_MOST)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in busy:  # Browsers open connections in advance, on which nothing is ever asked.
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
