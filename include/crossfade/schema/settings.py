"""``ALTER ROLE … SET`` and ``ALTER DATABASE … SET`` as statements, from what the catalog stores."""

from __future__ import annotations

import re

from psycopg import sql

#: Parameters stored as a list of quoted identifiers (pg_dump: variable_is_guc_list_quote); others are one string.
_LISTS = {
    "local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
    "temp_tablespaces", "unix_socket_directories",
}  # fmt: skip
_ITEM = re.compile(r'\s*("(?:[^"]|"")*"|[^,]+)\s*(?:,|$)')


def set_clause(name: str, value: str) -> sql.Composed:
    """``SET name TO value``, for a parameter and its value as in pg_db_role_setting."""
    values = list_items(value) if name.lower() in _LISTS else [value]
    return sql.SQL("SET {} TO {}").format(
        sql.SQL(".").join(sql.Identifier(part) for part in name.split(".")),
        sql.SQL(", ").join(sql.Literal(item) for item in values or [""]),
    )


def list_items(value: str) -> list[str]:
    """The identifiers of a stored list, without their quotes."""
    items = (match[1].strip() for match in _ITEM.finditer(value))
    return [item[1:-1].replace('""', '"') if item.startswith('"') else item for item in items]
