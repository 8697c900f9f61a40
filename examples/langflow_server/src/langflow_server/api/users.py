"""Users: who one is, and what superusers do with others."""

from fastapi import APIRouter

__all__ = ["router"]

router = APIRouter(tags=["users"])
