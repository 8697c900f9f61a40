"""A Django project that asks for API keys: `python server.py` starts it and prints what to try.

The project is `settings.py`, `keys.py`, `urls.py` and `asgi.py`. Users, sessions and keys are in SQLite, in
`django_app.db` of the folder that this is started from. Each start gives ada and the superuser root a new password, and
issues three keys, good for a day.
"""

import argparse
import asyncio
import secrets
from datetime import UTC, datetime, timedelta

import uvicorn
from asgi import application  # First of all, because it sets Django up.
from django.contrib.auth.models import User
from django.core.management import call_command
from keys import store

from keyguard import lifecycle


def users() -> tuple[User, User, str]:
    """Make sure that there are Django's tables and two users, and give them a new password."""
    call_command("migrate", verbosity=0)
    password, active = secrets.token_urlsafe(9), {"is_active": True, "is_staff": True}
    ada, _ = User.objects.update_or_create(username="ada", defaults=active)
    root, _ = User.objects.update_or_create(username="root", defaults=active | {"is_superuser": True})
    for user in (ada, root):
        user.set_password(password)
        user.save()
    return ada, root, password


async def new_keys(ada: User, root: User) -> list[str]:
    """Make sure that there are Keyguard's tables, and return three new keys: to read, to write, to administer."""
    await store.create_schema()  # After Django's: it also puts triggers on the table of users.
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    issued = [
        await lifecycle.issue(store, str(ada.pk), name="reader", scopes=["notes:read"], expires_at=tomorrow),
        await lifecycle.issue(store, str(ada.pk), name="writer", scopes=["notes:*"], expires_at=tomorrow),
        await lifecycle.issue(store, str(root.pk), name="admin", expires_at=tomorrow),
    ]
    await store.close()  # The server runs in an event loop of its own.
    return [each.key.reveal() for each in issued]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A Django project that asks for API keys.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    ada, root, password = users()
    url, (reader, writer, admin) = f"http://127.0.0.1:{port}", asyncio.run(new_keys(ada, root))
    print(
        f"""
This project asks for API keys. Here are two of ada's and one of root's, shown this once:

    reader  {reader}
    writer  {writer}
    admin   {admin}

In another terminal, try the reader's key, by header and by query; it may not write (403), the writer's may,

    curl -i -H 'x-api-key: {reader}' {url}/me
    curl -i '{url}/notes?x-api-key={reader}'
    curl -i -H 'x-api-key: {reader}' -X POST '{url}/notes/add?text=hello'
    curl -i -H 'x-api-key: {writer}' -X POST '{url}/notes/add?text=hello'

what only a superuser may see, and what is refused for want of a key:

    curl -i -H 'x-api-key: {writer}' {url}/keys
    curl -i -H 'x-api-key: {admin}' {url}/keys
    curl -i {url}/notes

Django's own sign-in stands beside it. Open {url}/admin/ in a browser, and sign in

    as ada or root, with the password {password}

Then {url}/me knows you without a key. As root, untick "Active" for ada: her keys are refused from then on.
Ctrl-C ends the server.
""",
        flush=True,
    )
    uvicorn.run(application, port=port)
