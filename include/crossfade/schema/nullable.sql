-- states: of pending entries: whether the column is NOT NULL, whether the check stands in for it, whether rows can be checked
SELECT e.id, c.relkind = 'r' AS has_rows, a.attnotnull AS not_null, x.oid IS NOT NULL AS enforced,
       COALESCE(x.convalidated, false) AS proved
FROM crossfade.restore e
JOIN pg_namespace n ON n.nspname = e.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = e.table_name
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = e.name AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_constraint x ON x.conrelid = c.oid AND x.contype = 'c' AND x.conname = 'crossfade_not_null_' || e.id
WHERE e.migration_id = %(migration)s AND e.kind = 'not null' AND e.restored_at IS NULL
ORDER BY e.id

-- key_columns: columns of a table's primary key, in its order
SELECT a.attname AS name FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(attnum, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND i.indisprimary ORDER BY k.place
