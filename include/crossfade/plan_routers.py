"""The routers of a plan: what sends clients to the database, and how it is switched over."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from crossfade.plan_section import ConnId, Section, one_or_many_schema


class FileSwitch(Section):
    """Repoint by rewriting the file that holds ``[databases]``, which pgbouncer.ini includes with ``%include``."""

    file: str
    """Path of that file, as the worker (via: local) sees it."""
    via: Literal["local"] = "local"


class ConffileSides(Section):
    source: str
    """Path, on the pooler's host, of a complete pgbouncer.ini that points at the source."""
    target: str
    """Path, on the pooler's host, of a complete pgbouncer.ini that points at the target."""


class ConffileSwitch(Section):
    """Repoint through the admin console alone: ``SET conffile``, ``RELOAD``; both files lie on the pooler's host."""

    conffile: ConffileSides


def _way_of_switching(given: Any) -> str:
    """Which class reads this switch: so that an error is about what was meant, not about each possibility."""
    by_console = "conffile" in given if isinstance(given, dict) else isinstance(given, ConffileSwitch)
    return "ConffileSwitch" if by_console else "FileSwitch"


Switch = Annotated[
    Annotated[FileSwitch, Tag("FileSwitch")] | Annotated[ConffileSwitch, Tag("ConffileSwitch")],
    Discriminator(_way_of_switching),
]


class PgBouncerRouter(Section):
    """A PgBouncer, or a fleet of them with the same configuration."""

    kind: Literal["pgbouncer"]
    side: Literal["rw"] = "rw"
    admin: Annotated[tuple[ConnId, ...], one_or_many_schema] = Field(min_length=1)
    """Connections to the admin console of every instance (database ``pgbouncer``)."""
    database: Annotated[tuple[str, ...], one_or_many_schema] = Field(min_length=1)
    """Name, or names, under which clients ask PgBouncer for the database."""
    switch: Switch

    @field_validator("admin", "database", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


Router = PgBouncerRouter
