"""Who visits a page: whoever is signed in, or as whom the settings take everybody. A key opens no page."""

from typing import Annotated

from fastapi import Depends, Request

from keyguard import Access, Principal, Rule
from langflow_server.guard import User
from langflow_server.problems import Forbidden

__all__ = ["Manager", "Visitor"]


def _visitor(request: Request, user: User) -> Principal:
    access: Access = request.scope["keyguard"]
    if access.rule is Rule.KEY:
        raise Forbidden("A key opens no page: sign in with a name and a password.")
    return user


Visitor = Annotated[Principal, Depends(_visitor)]


def _manager(visitor: Visitor) -> Principal:
    if not visitor.is_superuser:
        raise Forbidden("Only a superuser manages users.")
    return visitor


Manager = Annotated[Principal, Depends(_manager)]
"""A visitor who is a superuser."""
