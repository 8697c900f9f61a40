"""The pages, for people with a browser."""

from fastapi import FastAPI

__all__ = ["add_to"]


def add_to(app: FastAPI) -> None:
    """Add the pages to the app."""
