"""The small app in Django: `get_asgi_application()` is wrapped, and the caller is read from the request's scope.

`request.user` is that of Django's own sign-in, where the project has one. Django speaks HTTP alone, so what answers
WebSockets stands beside it, and KeyGuard in front of both. It refuses the lifespan; KeyGuard answers for it.
"""

import django
from apps.plain import ws
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.exceptions import PermissionDenied
from django.http import JsonResponse
from django.urls import path

from keyguard import KeyGuard


async def health(request):
    return JsonResponse({"status": "ok"})


async def greeting(request):
    return JsonResponse({"hello": request.scope["user"].display_name or "stranger"})


async def me(request):
    user, access = request.scope["user"], request.scope["keyguard"]
    return JsonResponse({"id": user.id, "name": user.name, "key": access.key_name})


async def flows(request):
    if "flows:read" not in request.scope["auth"].scopes:
        raise PermissionDenied
    return JsonResponse({"flows": []})


def admin(request):
    user = request.scope["user"]
    if not user.is_superuser:
        raise PermissionDenied
    return JsonResponse({"hello": user.name})


async def echo(request):
    headers = [[name.lower(), value] for name, value in request.headers.items()]
    return JsonResponse({"query": request.META["QUERY_STRING"], "headers": headers})


urlpatterns = [
    path("health", health),
    path("greeting", greeting),
    path("me", me),
    path("flows", flows),
    path("admin", admin),
    path("echo", echo),
]

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None)
django.setup(set_prefix=False)


def make(store, policy, log):
    http = get_asgi_application()

    async def app(scope, receive, send):
        await (ws if scope["type"] == "websocket" else http)(scope, receive, send)

    return KeyGuard(app, store=store, policy=policy)
