"""How errors are answered, for the OpenAPI document."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

__all__ = ["Detail", "errors"]


class Detail(BaseModel):
    """What was done, or what went wrong, in a sentence."""

    detail: str


def errors(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return what an operation's `responses` say of these statuses."""
    return {int(status): {"model": Detail} for status in statuses}
