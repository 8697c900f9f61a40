"""The key page: where people manage their own keys, and superusers everyone's, mounted into any ASGI app.

::

    from keyguard.admin import KeyAdmin, with_key_page

    app.mount("/keys", KeyAdmin(store))
    app.add_middleware(KeyGuard, store=store, policy=with_key_page(Policy(), "/keys"))
"""

from keyguard.admin._admin import KeyAdmin
from keyguard.admin._open_paths import with_key_page
from keyguard.admin._settings import Theme

__all__ = ["KeyAdmin", "Theme", "with_key_page"]
