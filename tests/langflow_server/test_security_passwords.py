"""Whose password opens what."""

import pytest
from langflow_accounts import in_this_process

from keyguard import lifecycle
from langflow_server import people
from langflow_server.problems import BadRequest


def test_a_name_that_has_gone_to_another_vouches_for_nobody(tmp_path, monkeypatch):
    """Who holds somebody's session sets no password by theirs, not even by having both names changed meanwhile."""

    async def attack(server, root):
        victim = await people.add_person(server, "victim", "the victim's", actor=root)
        thief = await people.add_person(server, "thief", "the thief's", actor=root)
        get_person = people.get_person

        async def get_and_swap(server, user_id):
            person = await get_person(server, user_id)
            monkeypatch.undo()
            await lifecycle.rename_owner(server.store, victim.id, "somebody")
            await lifecycle.rename_owner(server.store, thief.id, "victim")
            return person

        monkeypatch.setattr(people, "get_person", get_and_swap)
        with pytest.raises(BadRequest, match="not right"):
            await people.change_password(server, victim.id, current="the thief's", new="another")
        return await lifecycle.verify_password(server.store, "somebody", "the victim's")

    with in_this_process(tmp_path) as (_, do):
        assert do(attack) is not None
