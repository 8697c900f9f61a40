"""Takes part in the chat, as a page in a browser would: `CHAT_KEY=… python client.py http://127.0.0.1:8000`.

It gets a key for an hour by its own key, which stands in a header, and connects with the short-lived one in the query.
It prints what is said, and says what is typed.
"""

import json
import os
import sys
from threading import Thread
from urllib.request import Request, urlopen

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect


def say_what_is_typed(socket: ClientConnection) -> None:
    for line in sys.stdin:
        socket.send(line.rstrip("\n"))
    socket.close()


url = sys.argv[1]
asked = Request(f"{url}/chat/key", method="POST", headers={"x-api-key": os.environ["CHAT_KEY"]})  # noqa: S310 As it was typed.
with urlopen(asked) as answer:  # noqa: S310 Likewise.
    key = json.load(answer)["key"]

with connect(f"{url.replace('http', 'ws', 1)}/chat?x-api-key={key}") as socket:
    Thread(target=say_what_is_typed, args=[socket], daemon=True).start()
    try:
        while True:
            print(socket.recv(), flush=True)
    except ConnectionClosed as closed:
        print(f"The connection was closed: {closed.rcvd}")
