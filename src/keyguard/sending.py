"""What the guard does to the messages that an app sends."""

from collections.abc import Awaitable

from starlette.types import Message, Send

from keyguard.access import Access

__all__ = ["outgoing", "without_referrer"]


def outgoing(send: Send, access: Access) -> Send:
    """Send what the app sends, until the guard has another answer: see `keyguard.access.NotPermitted`.

    Not a coroutine itself: it hands the server's on.
    """

    def sending(message: Message) -> Awaitable[None]:
        if access.answer is not None:
            return _dropped()  # It comes too late.
        access.has_begun = True
        return send(message)

    return sending


async def _dropped() -> None:
    pass


def without_referrer(send: Send) -> Send:
    """Ask the browser not to send the address on as a referrer: it holds a key."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if not any(name.lower() == b"referrer-policy" for name, _ in headers):
                message = {**message, "headers": [*headers, (b"referrer-policy", b"no-referrer")]}
        await send(message)

    return sending
