"""The chat's people hear one another by name, and whose key is revoked is shown out while the others go on."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

PATIENCE = 30.0
"""Seconds that a busy machine may take for anything; reaching it is a failure."""


class Terminal:
    """The example's client as somebody uses it: what they type, and the lines that they see."""

    def __init__(self, process):
        self._process = process

    @classmethod
    async def open(cls, client, url, key):
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, client, url, stdin=PIPE, stdout=PIPE, env=os.environ | {"CHAT_KEY": key}
            )
        )

    async def type(self, line):
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def see(self):
        return (await self._process.stdout.readline()).decode().rstrip("\n")

    async def leave(self):
        self._process.stdin.close()
        return await self._process.wait()


async def test_a_chat_of_two(start, examples):
    """Two people hear one another by name; the socket of one who is shown out closes with 1008, and the other stays."""
    with start("websocket_chat/server.py") as example:
        ada, grace, root = example.keys
        async with asyncio.timeout(PATIENCE), httpx2.AsyncClient(base_url=example.url) as client:
            asked = await client.post("/chat/key", headers={"x-api-key": grace})
            assert asked.headers["cache-control"] == "no-store"
            short = asked.json()["key"]
            for method, path in (("POST", "/chat/key"), ("DELETE", "/chat/ada")):  # It joins the chat, and no more.
                assert (await client.request(method, path, params={"x-api-key": short})).status_code == 403
            chat = f"{example.url.replace('http', 'ws')}/chat"

            adas = await Terminal.open(examples / "websocket_chat" / "client.py", example.url, ada)
            assert await adas.see() == "ada joined"
            async with connect(f"{chat}?x-api-key={short}", proxy=None) as graces:
                assert await graces.recv() == await adas.see() == "grace joined"
                await adas.type("Good morning")
                assert await graces.recv() == await adas.see() == "ada: Good morning"
                await graces.send("Good evening")
                assert await graces.recv() == await adas.see() == "grace: Good evening"

                shown_out = await client.delete("/chat/grace", headers={"x-api-key": root})
                assert shown_out.json() == {"revoked": 1}
                await adas.type("She hears no more")
                with pytest.raises(ConnectionClosed) as closed:
                    await graces.recv()
                assert closed.value.rcvd.code == 1008
            assert {await adas.see(), await adas.see()} == {"ada: She hears no more", "grace left"}
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{chat}?x-api-key={short}", proxy=None)
            assert refused.value.response.status_code == 401
            assert json.loads(refused.value.response.body)["code"] == "invalid_key"

            await adas.type("Good night")
            assert await adas.see() == "ada: Good night"
            assert await adas.leave() == 0
    assert "x-api-key=" not in example.log
    assert short not in example.log
