"""The ASGI app: Django, with KeyGuard around it."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django_app = ASGIStaticFilesHandler(get_asgi_application())

from keys import by_session, store  # noqa: E402 It reads the settings, which are known only now.

from keyguard import KeyGuard, Policy  # noqa: E402 Beside what it guards with.

# Django's admin has a sign-in of its own, and so is exempt from keys.
application = KeyGuard(django_app, store=store, policy=Policy(exempt=["/admin/*", "/static/*"]), identify=by_session)
