"""The pages for people, and the forms on them: what is asked of the desk in a browser.

`endpoints` says which address leads to what, and shows pages; `changes` does what forms ask for; `views` makes the
pages that both lead to. The list's order and filters are in `listing`, what a form lets choose in `choices`, what was
done in `told`, as sentences, and in `feed`, with all who are in it; `samples` has the commands that a new key is tried
with.
"""

from keyguard.admin._pages.endpoints import routes

__all__ = ["routes"]
