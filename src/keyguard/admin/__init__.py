"""The key page: where people manage their own keys, and superusers everyone's, mounted into any ASGI app."""
