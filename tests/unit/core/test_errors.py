"""Every error says what happened, what was seen and what to do; its branch says what a retry can do."""

import importlib
import pkgutil

import pytest

import crossfade
from crossfade.errors import (
    CrossfadeError,
    DeadlineExceeded,
    FatalError,
    NotOursToWrite,
    PlanError,
    PreconditionError,
    TransientError,
    Unreachable,
)


def test_an_error_without_a_message_says_its_docstring() -> None:
    assert str(TransientError()) == "The world was not ready: the same call may succeed later."


@pytest.mark.parametrize(
    ("error", "branch", "words"),
    [
        (
            PlanError(file="shop.yaml", key="load.waves", problem="unknown key", fix="Remove it"),
            PreconditionError,
            "shop.yaml: load.waves: unknown key. Remove it",
        ),
        (PlanError(file="shop.yaml", key="", problem="not YAML"), PreconditionError, "shop.yaml: not YAML"),
        (
            Unreachable(name="shop_source", address="db:5432/shop", reason="refused\n"),
            TransientError,
            "cannot connect to shop_source (db:5432/shop): refused. Check the connection 'shop_source': host, port",
        ),
        (
            NotOursToWrite(plan="shop", state="cut over", task="load"),
            PreconditionError,
            "load was refused: the migration 'shop' is cut over, its target is no longer ours to write to. Nothing was",
        ),
        (
            DeadlineExceeded("the drain", seconds=1.2345, seen="wave 0 at 0/1"),
            TransientError,
            "the drain was not done within 1.23 s. Seen last: wave 0 at 0/1",
        ),
        (DeadlineExceeded("it", seconds=86400, seen="lag"), TransientError, "it was not done within 86400 s."),
    ],
)
def test_a_message_names_what_was_seen(error: CrossfadeError, branch: type[CrossfadeError], words: str) -> None:
    assert str(error).startswith(words)
    assert isinstance(error, branch)


def family(of: type[CrossfadeError]) -> set[type[CrossfadeError]]:
    """A class and everything derived from it."""
    return {of, *(member for child in of.__subclasses__() for member in family(child))}


def test_every_error_of_the_package_is_on_exactly_one_branch() -> None:
    for module in pkgutil.walk_packages(crossfade.__path__, "crossfade."):
        importlib.import_module(module.name)
    errors = {error for error in family(CrossfadeError) - {CrossfadeError} if error.__module__.startswith("crossfade.")}
    assert len(errors) > 10
    for error in errors:
        assert sum(issubclass(error, branch) for branch in (PreconditionError, TransientError, FatalError)) == 1, error
