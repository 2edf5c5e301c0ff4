"""One small tree of errors. Each says what happened, what was seen, and what to do now.

Which branch an error is on tells the caller what a retry can do:
`PreconditionError` needs a person first, `TransientError` may pass by itself, `FatalError` never will.
"""

from __future__ import annotations


class CrossfadeError(Exception):
    """Base of every error that Crossfade raises on purpose."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class PreconditionError(CrossfadeError):
    """Something must be put right by a person before this can run. Nothing was changed."""


class TransientError(CrossfadeError):
    """The world was not ready: the same call may succeed later."""


class FatalError(CrossfadeError):
    """What was found contradicts what must be true. Do not retry: read the message."""


class PlanError(PreconditionError):
    """A plan's YAML cannot be used."""

    def __init__(self, *, file: str, key: str, problem: str, fix: str = "") -> None:
        self.file, self.key, self.problem, self.fix = file, key, problem, fix
        where = f"{file}: {key}: " if key else f"{file}: "
        super().__init__(where + problem + (f". {fix}" if fix else ""))


class Unreachable(TransientError):
    """A server could not be connected to."""

    def __init__(self, *, name: str, address: str, reason: str) -> None:
        self.name, self.address, self.reason = name, address, reason
        super().__init__(
            f"cannot connect to {name} ({address}): {reason.strip()}. "
            f"Check the connection {name!r}: host, port, database, user, password, TLS and firewall"
        )


class NotOursToWrite(PreconditionError):
    """The target serves, or has served, applications: loading into it again would destroy their writes."""

    def __init__(self, *, plan: str, state: str, task: str) -> None:
        self.plan, self.state, self.task = plan, state, task
        super().__init__(
            f"{task} was refused: the migration {plan!r} is {state}, its target is no longer ours to write to. "
            "Nothing was changed. Data on the target now belongs to the application"
        )


class DeadlineExceeded(TransientError):
    """Something took longer than it was allowed to."""

    def __init__(self, what: str, *, seconds: float, seen: str) -> None:
        self.what, self.seconds, self.seen = what, seconds, seen
        limit = f"{seconds:.3g}" if seconds < 1000 else f"{seconds:.0f}"
        super().__init__(f"{what} was not done within {limit} s. Seen last: {seen}")
