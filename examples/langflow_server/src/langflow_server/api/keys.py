"""A user's own keys."""

from fastapi import APIRouter

__all__ = ["router"]

router = APIRouter(tags=["keys"])
