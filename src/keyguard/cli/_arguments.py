"""Arguments and options that several commands have."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from keyguard.cli._values import duration, time

__all__ = ["Expires", "KeyName", "Lifetime", "OwnerFilter", "OwnerName", "Yes"]

OwnerName = Annotated[str, typer.Argument(metavar="OWNER", help="The owner's name or id; id:… is an id in any case.")]
OwnerFilter = Annotated[str | None, typer.Option("--owner", metavar="OWNER", help="Those of this owner alone.")]
KeyName = Annotated[
    str, typer.Argument(metavar="KEY", help="The key's id, or its prefix and the beginning of its id: kg_3fJ2…")
]
Expires = Annotated[
    datetime | None, typer.Option(parser=time, metavar="TIME", help="From when on it is not good any more.")
]
Lifetime = Annotated[
    timedelta | None,
    typer.Option(parser=duration, metavar="DURATION", help="How long it is good, instead of --expires."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether that is what you want.")]
