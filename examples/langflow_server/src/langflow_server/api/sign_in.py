"""Signing in and out."""

from fastapi import APIRouter

__all__ = ["router"]

router = APIRouter(tags=["sign_in"])
