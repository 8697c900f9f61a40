"""API keys for ASGI apps."""

__version__ = "0.1.0"
