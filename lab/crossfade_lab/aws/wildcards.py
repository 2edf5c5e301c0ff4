"""Patterns in the selection and transformation rules of a table mapping.

By the chapter "Wildcards in table mapping" of the AWS DMS user guide: ``%`` stands for any number of characters, ``_``
for one, ``[ab]`` and ``[a-d]`` for one of a set, which is also how to mean a wildcard itself: ``[_]``. Case matters.
"""

import re
from functools import lru_cache

_TOKEN = re.compile(r"\[([^\]]+)\]|(%)|(_)|(.)", re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern; a bracket that nothing closes stands for itself."""
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(map(_expression, _TOKEN.finditer(pattern))), re.DOTALL)


def _expression(token: re.Match[str]) -> str:
    members, many, one, literal = token.groups()
    if members is not None:
        return f"[{''.join(map(_member, re.findall(r'.-.|.', members, re.DOTALL)))}]"
    if many or one:
        return ".*" if many else "."
    return re.escape(literal)


def _member(member: str) -> str:
    """One character of a set, or a range of them; a range that runs backwards holds nothing but its ends."""
    ends = member[0], member[-1]
    joint = "-" if len(member) == 3 and ends[0] <= ends[1] else ""
    return joint.join(map(re.escape, ends if len(member) == 3 else ends[:1]))
