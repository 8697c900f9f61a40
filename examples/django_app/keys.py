"""What Keyguard is told of Django: that keys belong to Django's own users, and who is signed in without one."""

from django.conf import settings
from django.contrib.auth import aget_user
from django.contrib.sessions.backends.db import SessionStore
from django.core.handlers.asgi import ASGIRequest
from sqlalchemy import Integer
from starlette.types import Scope

from keyguard import Principal
from keyguard.stores.sql import SQLStore, UserTable

# Its columns is_active and is_superuser are called what Keyguard calls them, too.
store = SQLStore(
    f"sqlite+aiosqlite:///{settings.DATABASES['default']['NAME']}",
    users=UserTable("auth_user", id_type=Integer(), name="username"),
)


async def by_session(scope: Scope) -> Principal | None:
    """Return who is signed in to Django: asked where a request brings no key."""
    request = ASGIRequest(scope, None)
    request.session = SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    user = await aget_user(request)
    if not user.is_authenticated:
        return None
    return Principal(id=str(user.pk), name=user.get_username(), is_superuser=user.is_superuser)
