"""What anybody may know of the server."""


def test_two_workers_answer(server):
    """Each of two processes says that it is well, and asks for no key."""
    with server.each_worker() as clients:
        assert len(clients) == 2
        for client in clients.values():
            assert client.get("/health").json() == {"status": "ok"}
            assert client.get("/api/v1/version").status_code == 200
            assert client.get("/api/v1/config").json()["auto_login"] is False


def test_everything_else_asks_who_one_is(server):
    """Without a key the answer is 403, as programs for Langflow expect, and says why in `detail`."""
    with server.client() as client:
        answer = client.get("/api/v1/users/whoami")
        assert answer.status_code == 403
        assert answer.json() == {"detail": "An API key is required."}
