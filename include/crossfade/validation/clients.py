"""Where the routers lead clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from crossfade.errors import CrossfadeError
from crossfade.routers.base import Side

if TYPE_CHECKING:
    from crossfade.migration import Migration


def led_to(m: Migration, side: Side) -> Iterator[str]:
    """Routers, also those for readers, that lead elsewhere or cannot be asked; in words."""
    for router in (*m.routers(), *m.readers()):
        try:
            if (other := router.serving()) is not side:
                yield f"{router.label} is on the {other}"
        except CrossfadeError as error:
            yield str(error)
        finally:
            router.close()
