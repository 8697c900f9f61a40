"""The keys of the app's own users live and die with what the app's own table says."""

import json

from sqlalchemy import create_engine, text


def test_a_user_is_switched_off_by_another_program(start, call, tmp_path):
    """Whom another program switches off in the app's table is refused by the next request, and let in when back on."""
    engine = create_engine(f"sqlite:///{tmp_path}/own_users.db")
    with start("own_users/app.py") as example:
        ada, root = (f"curl -H 'x-api-key: {key}' {example.url}/me" for key in example.keys)

        def switch(on):
            with engine.begin() as connection:
                connection.execute(text("UPDATE users SET is_active = :on WHERE email LIKE 'ada@%'"), {"on": on})

        assert call(ada) == (200, '{"hello":"Ada Lovelace","key":"first"}')
        switch(on=False)
        assert (call(ada)[0], call(root)[0]) == (401, 200)
        switch(on=True)
        assert call(ada)[0] == 200
    engine.dispose()
    assert "trigger" not in example.log  # A table without them would be read with each check, after a warning.


def test_who_is_signed_in_is_the_owner_of_the_new_key(start, call):
    """The key that ada makes in her session is hers; a wrong password makes no session."""
    with start("own_users/app.py") as example:
        sign_in, _, make, *_ = (line.replace("curl -i", "curl") for line in example.calls)
        assert call(sign_in.replace('"password": "', '"password": "not '))[0] == 401
        assert call(make)[0] == 401
        assert call(sign_in) == (200, '{"hello":"Ada Lovelace"}')
        status, made = call(make)
        assert status == 201
        key = json.loads(made)["key"]
        assert call(f"curl -H 'x-api-key: {key}' {example.url}/me")[1] == '{"hello":"Ada Lovelace","key":"laptop"}'
    assert key not in example.log
