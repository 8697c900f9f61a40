"""A user's global variables."""

from fastapi import APIRouter

__all__ = ["router"]

router = APIRouter(tags=["variables"])
