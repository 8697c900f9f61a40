"""A user's own flows."""

from fastapi import APIRouter

__all__ = ["router"]

router = APIRouter(tags=["flows"])
