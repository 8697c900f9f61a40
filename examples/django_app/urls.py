"""The views, and where they are found.

`request.scope["user"]` is whom KeyGuard let in, by a key or by a session; `request.user` knows the session alone.
"""

from collections.abc import Awaitable, Callable
from functools import wraps

from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST
from keys import store

from keyguard import lifecycle

View = Callable[[HttpRequest], Awaitable[JsonResponse]]

notes: dict[str, list[str]] = {}


def needs(scope: str, *, key: bool = False) -> Callable[[View], View]:
    """Answer 403 where that scope is missing (a superuser has one called `superuser`), or a key where one is needed."""

    def decorate(view: View) -> View:
        @wraps(view)
        async def guarded(request: HttpRequest) -> JsonResponse:
            if scope not in request.scope["auth"].scopes:
                return JsonResponse({"detail": f"This needs the scope {scope}."}, status=403)
            if key and request.scope["keyguard"].key_id is None:
                return JsonResponse({"detail": "This needs a key, not a session."}, status=403)
            return await view(request)

        return guarded

    return decorate


async def me(request: HttpRequest) -> JsonResponse:
    user, access = request.scope["user"], request.scope["keyguard"]
    return JsonResponse({"hello": user.name, "key": access.key_name, "scopes": list(request.scope["auth"].scopes)})


@require_GET
@needs("notes:read")
async def read_notes(request: HttpRequest) -> JsonResponse:
    return JsonResponse(notes.get(request.scope["user"].id, []), safe=False)


# A browser sends the session's cookie whatever page asks it to, and never a key. So where a key is needed, Django's
# token against forged requests is not.
@csrf_exempt
@require_POST
@needs("notes:write", key=True)
async def add_note(request: HttpRequest) -> JsonResponse:
    mine = notes.setdefault(request.scope["user"].id, [])
    mine.append(request.GET["text"])
    return JsonResponse(mine, safe=False, status=201)


@needs("superuser")
async def list_keys(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"keys": [key.hint for key in await lifecycle.list_keys(store)]})


urlpatterns = [
    path("me", me),
    path("notes", read_notes),
    path("notes/add", add_note),
    path("keys", list_keys),
    path("admin/", admin.site.urls),
]
