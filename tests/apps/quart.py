"""The small app in Quart: `app.asgi_app` is wrapped, and the caller is read from the request's scope."""

from quart import Blueprint, Quart, abort, request, websocket

from keyguard import KeyGuard

routes = Blueprint("routes", __name__)


@routes.get("/health")
async def health():
    return {"status": "ok"}


@routes.get("/greeting")
async def greeting():
    return {"hello": request.scope["user"].display_name or "stranger"}


@routes.get("/me")
async def me():
    user, access = request.scope["user"], request.scope["keyguard"]
    return {"id": user.id, "name": user.name, "key": access.key_name}


@routes.get("/flows")
async def flows():
    if "flows:read" not in request.scope["auth"].scopes:
        abort(403)
    return {"flows": []}


@routes.get("/admin")
async def admin():
    user = request.scope["user"]
    if not user.is_superuser:
        abort(403)
    return {"hello": user.name}


@routes.get("/echo")
async def echo():
    headers = [[name.lower(), value] for name, value in request.headers.items()]
    return {"query": request.query_string.decode(), "headers": headers}


@routes.websocket("/ws")
async def ws():
    await websocket.accept()
    await websocket.send_json({"name": websocket.scope["user"].name})


def make(store, policy, log):
    app = Quart(__name__)
    app.register_blueprint(routes)
    app.asgi_app = KeyGuard(app.asgi_app, store=store, policy=policy)

    @app.before_serving
    async def started():
        log.append("app started")

    @app.after_serving
    async def stopped():
        log.append("app stopped")

    return app
