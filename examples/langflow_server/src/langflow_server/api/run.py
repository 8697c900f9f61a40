"""Running a flow."""

from fastapi import APIRouter

__all__ = ["router"]

router = APIRouter(tags=["run"])
