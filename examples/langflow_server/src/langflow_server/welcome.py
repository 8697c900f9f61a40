"""What a start says to whoever sits at the terminal: where the server is, how to get in, and what to beware of."""

from textwrap import indent

from langflow_server.settings import PREFIX, Settings
from langflow_server.start import Prepared

__all__ = ["warnings", "welcome"]


def warnings(settings: Settings, prepared: Prepared) -> list[str]:
    """Return a sentence for all that lets somebody in without a password or a key, and for a superuser that is none."""
    said: list[str] = []
    owner = prepared.superuser
    if not (owner.is_superuser and owner.is_active):
        what = "not active" if owner.is_superuser else "no superuser"
        said.append(f"{owner.name!r}, whom {PREFIX}SUPERUSER names, is {what}. `langflow-server superuser` mends that.")
    if settings.skip_auth_auto_login:
        said.append(
            f"{PREFIX}SKIP_AUTH_AUTO_LOGIN is on: NO REQUEST NEEDS A KEY. Whoever reaches this server acts as the "
            f"superuser {settings.superuser!r}."
        )
    elif settings.excuses_programs:
        said.append(
            f"{PREFIX}AUTO_LOGIN is on and {PREFIX}API_VERSION is 1.4: A REQUEST WITHOUT A KEY PASSES. Whoever reaches "
            f"this server acts as the superuser {settings.superuser!r}."
        )
    if settings.auto_login:
        said.append(
            f"{PREFIX}AUTO_LOGIN is on: NOBODY IS ASKED FOR A PASSWORD. Whoever reaches this server is signed in as "
            f"the superuser {settings.superuser!r}, and can make keys."
        )
    return said


def welcome(settings: Settings, prepared: Prepared, url: str, *, program: str = "langflow-server") -> str:
    """Return what a start says on standard output, where nothing is logged. It shows once what was generated.

    `program` is what somebody types to call this one, so that the same settings hold.
    """
    parts = [f"Langflow-style server at {url}", *_made(prepared), *_how_to_get_in(settings, prepared, url)]
    if prepared.sample is not None:
        parts += _calls(f"{url}/api/v1/run/{prepared.sample}", prepared.key)
    parts.append(_later(settings, program))
    return "\n\n".join(parts)


def _made(prepared: Prepared) -> list[str]:
    """Return what was generated just now."""
    if prepared.password is None:
        return []
    lines = [f"superuser   {prepared.superuser.name}", f"password    {prepared.password}"]
    if prepared.key is not None:
        lines.append(f"API key     {prepared.key}")
    return ["These were made just now, and are shown this once:", indent("\n".join(lines), "  ")]


def _how_to_get_in(settings: Settings, prepared: Prepared, url: str) -> list[str]:
    name = prepared.superuser.name
    if settings.backend_only:
        return [f"There are no pages here. Programs come with a key, or sign in at {url}/api/v1/login."]
    if settings.auto_login:
        return [f"Open {url} in a browser: you are signed in there as {name}."]
    password = "this password" if prepared.password is not None else "the superuser's password"
    return [f"Open {url} in a browser, and sign in as {name} with {password}."]


def _calls(run: str, key: str | None) -> list[str]:
    """Return how a program runs the sample flow, as it may be pasted into a shell; without a key, once there is one."""
    where = "the key" if key is not None else "a key in the place of LANGFLOW_API_KEY,"
    key = "LANGFLOW_API_KEY" if key is None else key
    body = """-H "Content-Type: application/json" -d '{"input_value": "Ada"}'"""
    return [
        f"Run the sample flow from a program, with {where} in a header:",
        f"""  curl "{run}" -H "x-api-key: {key}" {body}""",
        "or in the URL, which proxies may write into their logs:",
        f"""  curl "{run}?x-api-key={key}" {body}""",
    ]


def _later(settings: Settings, program: str) -> str:
    lines = [
        f"Another key         {program} api-key",
        f"Another password    {program} superuser",
        f"Data                {settings.place}",
    ]
    if settings.secret_key is None:
        lines.append(f"Secret key          {settings.secret_file}; keep a copy: it opens the stored credentials")
    if settings.lets_in and not settings.allowed_hosts:
        lines.append(f"Host names          this machine's own; {PREFIX}ALLOWED_HOSTS names others")
    if not settings.backend_only:
        lines.insert(0, "Your keys           in the pages, under Settings and Langflow API Keys")
    return "\n".join([*lines, "Stop                Ctrl-C"])
