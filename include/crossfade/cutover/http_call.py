"""One HTTP call of a hook, bounded in time."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any

import httpx

from crossfade.errors import PreconditionError


@dataclass(kw_only=True, slots=True)
class Options:
    """With what a call authenticates, and how its host does."""

    headers: dict[str, str] = field(default_factory=dict)
    auth: tuple[str, str] | None = None
    verify: bool | str = True


def call(method: str, url: str, body: dict[str, Any] | None, options: Options, seconds: float) -> int:
    """The status of the answer. Raises `PreconditionError` where there is none in time."""
    try:
        return asyncio.run(_status(method, url, body, options, seconds))
    except TimeoutError:
        raise PreconditionError(f"no answer within {seconds:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PreconditionError(f"no answer: {str(error) or type(error).__name__}") from None


def _trust(verify: bool | str) -> bool | ssl.SSLContext:
    return ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify


async def _status(method: str, url: str, body: dict[str, Any] | None, options: Options, seconds: float) -> int:
    """
    The status of the answer; its body is not read. Redirects are not followed: they would repeat the call elsewhere.

    httpx has limits for each part of a call only, hence one for the whole. Raises `TimeoutError`, `httpx.HTTPError`.
    """
    async with (
        asyncio.timeout(seconds),
        httpx.AsyncClient(verify=_trust(options.verify), timeout=None) as client,  # noqa: S113 - the limit is above
        client.stream(method, url, json=body, headers=options.headers, auth=options.auth) as answer,
    ):
        return answer.status_code
