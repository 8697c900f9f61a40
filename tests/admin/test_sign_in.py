"""Signing in with the page's own form, and out again."""


async def test_a_visitor_signs_in_and_out(signed_in):
    """With the right name and password a session begins; signing out ends it."""
    ada = await signed_in("ada")
    answer = await ada.get("/")
    assert answer.status_code in {200, 404}
    answer = await ada.post("/sign-out")
    assert answer.status_code == 303
    answer = await ada.get("/sign-in")
    assert answer.status_code == 200
