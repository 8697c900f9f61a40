"""A Langflow-style server: flows that their owners' programs call with API keys.

A request comes in at `app`, is let in or refused by `guard`, and is answered by a room of `api` or `pages`. What both
rooms do stands once, in `people`, `keys`, `variables` and `flows`.
"""
