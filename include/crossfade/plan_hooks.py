"""The hooks of a plan: what of the user's own is done before a cutover, after it, and where it came to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag, WithJsonSchema, field_validator, model_validator

from crossfade.plan_section import ConnId, Section
from crossfade.quantities import Duration, parse_duration

#: What Crossfade itself says in the JSON body of every call and in the conf of every DAG run.
TOLD = ("plan", "event", "direction", "rehearsal")

#: A plan is kept in journals and shown to people: what authenticates comes from a connection.
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})

Statuses = Annotated[
    tuple[Annotated[int, Field(ge=100, le=599)], ...],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 599},
                {"type": "array", "items": {"type": "integer", "minimum": 100, "maximum": 599}},
            ]
        }
    ),
]


class _Hook(Section):
    on_failure: Literal["stop", "go_on"] | None = None
    """Before a cutover: whether a failure stops it (default) or is only reported. Others never stop anything."""


class _Bounded(_Hook):
    timeout: Duration = parse_duration("30s")
    """After that it has failed."""


class SqlHook(_Bounded):
    """One statement, run with the migration's role in a session of its own."""

    sql: str = Field(min_length=1)
    """The statement. No BEGIN, no COMMIT."""
    side: Literal["source", "target"] = "source"
    """Which database."""


class HttpRequest(Section):
    """One call. Its JSON body also gets ``plan``, ``event``, ``direction`` and ``rehearsal``."""

    url: str = Field(pattern=r"^(https?://|/)")
    """The whole URL; with a connection only the path."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: Mapping[str, str] = {}
    """Without secrets: those come from the connection."""
    body: Mapping[str, Any] = {}
    """JSON. GET sends none."""
    expect: Statuses = ()
    """Status, or statuses, of success. Default: any from 200 to 299."""
    connection: ConnId | None = None
    """Airflow connection of type http: host, login and password, secret headers in its extra."""

    @field_validator("expect", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @field_validator("headers")
    @classmethod
    def _no_secret(cls, headers: Mapping[str, str]) -> Mapping[str, str]:
        for name in headers:
            if name.lower() in _SECRET_HEADERS:
                raise ValueError(
                    f"the header {name} is a secret, which a plan must not hold: name a connection, and write it "
                    f'there as {{"headers": {{"{name}": …}}}} into its extra'
                )
        return headers

    @field_validator("body")
    @classmethod
    def _leave_ours(cls, body: Mapping[str, Any]) -> Mapping[str, Any]:
        if taken := [key for key in TOLD if key in body]:
            raise ValueError(f"Crossfade itself writes {', '.join(taken)} into the body: choose another key")
        return body

    @model_validator(mode="after")
    def _one_place(self) -> HttpRequest:
        if self.connection is None and self.url.startswith("/"):
            raise ValueError("url is only a path: write the whole URL, or name the connection whose host it is on")
        if self.connection is not None and not self.url.startswith("/"):
            raise ValueError("with a connection, url is a path on its host: write /…")
        if self.connection is None:
            parts = urlsplit(self.url)
            if not parts.hostname:
                raise ValueError(f"{self.url!r} names no host")
            if parts.username or parts.password:
                raise ValueError("the URL holds a login, which a plan must not: name a connection")
        if self.method == "GET" and self.body:
            raise ValueError("GET sends no body: use POST, or remove it")
        return self


class HttpHook(_Bounded):
    """One HTTP call."""

    http: HttpRequest
    rehearse: bool = False
    """Whether a rehearsal makes the call too, with ``"rehearsal": true`` and the header X-Crossfade-Rehearsal."""


class DagHook(_Hook):
    """A DAG that Airflow runs to its end, as a task of the migration's DAG. Its own dagrun_timeout bounds it."""

    dag: str = Field(pattern=r"^[\w.-]+$", max_length=250)
    """Its id."""
    conf: Mapping[str, Any] = {}
    """Also gets ``crossfade``: a mapping of plan, event, direction and rehearsal."""

    @field_validator("conf")
    @classmethod
    def _leave_ours(cls, conf: Mapping[str, Any]) -> Mapping[str, Any]:
        if "crossfade" in conf:
            raise ValueError("Crossfade itself writes the key 'crossfade' into the conf: choose another")
        return conf


_KINDS = {"sql": "SqlHook", "http": "HttpHook", "dag": "DagHook"}


def _which_kind(given: Any) -> str | None:
    """Which class reads this hook: so that an error is about that kind's keys alone."""
    if isinstance(given, _Hook):
        return type(given).__name__
    found = [name for key, name in _KINDS.items() if isinstance(given, dict) and key in given]
    return found[0] if len(found) == 1 else None


Hook = Annotated[
    Annotated[SqlHook, Tag("SqlHook")] | Annotated[HttpHook, Tag("HttpHook")] | Annotated[DagHook, Tag("DagHook")],
    Discriminator(
        _which_kind,
        custom_error_type="unknown_kind",
        custom_error_message=f"a hook needs exactly one of {', '.join(_KINDS)}",
    ),
]


class Hooks(Section):
    """
    In their order; DAGs are tasks of the migration's DAG: before the task `cutover`, and all at once after it.
    """

    before: tuple[Hook, ...] = ()
    """Before clients are held. One that fails stops the cutover."""
    after: tuple[Hook, ...] = ()
    """Once the new side serves."""
    undone: tuple[Hook, ...] = ()
    """Where hooks of ``before`` were run, and the cutover was then refused, undone or aborted."""

    @field_validator("after", "undone")
    @classmethod
    def _stop_nothing(cls, hooks: tuple[Hook, ...]) -> tuple[Hook, ...]:
        if any(hook.on_failure == "stop" for hook in hooks):
            raise ValueError("there is nothing left to stop then: on_failure is for hooks of 'before'")
        return hooks

    def dags(self, event: str) -> tuple[DagHook, ...]:
        """The hooks of an event (``before``, ``after`` or ``undone``) that are DAGs."""
        return tuple(hook for hook in getattr(self, event) if isinstance(hook, DagHook))
