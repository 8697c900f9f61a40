"""Style sheets, scripts and the icon: files of our own, each with a version that is in its address."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keyguard.admin._settings import Theme

__all__ = ["Asset", "asset_route", "assets_of"]

_MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file as it is served."""

    content: bytes
    media_type: str
    version: str
    """A digest of the content: another content has another address, so that a browser may keep each for ever."""


@lru_cache(maxsize=32)
def assets_of(theme: Theme) -> Mapping[str, Asset]:
    """Return all files by their names; ``theme.css`` has the theme's colours."""
    contents = {file.name: file.read_bytes() for file in files("keyguard.admin").joinpath("static").iterdir()}
    contents["theme.css"] = _colours(theme).encode()
    return {
        name: Asset(
            content=content,
            media_type=_MEDIA_TYPES[name.rpartition(".")[2]],
            version=sha256(content).hexdigest()[:12],
        )
        for name, content in contents.items()
    }


def _colours(theme: Theme) -> str:
    light = f":root {{ --accent: {theme.accent}; --on-accent: {theme.on_accent}; }}"
    dark = f":root {{ --accent: {theme.dark_accent}; --on-accent: {theme.dark_on_accent}; }}"
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n"


def asset_route(theme: Theme) -> Route:
    """Return the route of all files. It asks nobody who they are, and no store: an error page has its looks, too."""

    async def answer(request: Request) -> Response:
        found = assets_of(theme).get(request.path_params["name"])
        if found is None:
            return Response("There is no such file.", HTTPStatus.NOT_FOUND, media_type="text/plain")
        is_this = request.query_params.get("v") == found.version
        # While workers are being replaced, one may be asked for another one's version.
        caching = "public, max-age=31536000, immutable" if is_this else "no-cache"
        return Response(found.content, headers={"cache-control": caching}, media_type=found.media_type)

    return Route("/assets/{name}", answer, methods=["GET"])
