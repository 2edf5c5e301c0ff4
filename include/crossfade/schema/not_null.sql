-- family: a column's table and every table whose NOT NULL on it hangs together with that one, the lowest first
WITH RECURSIVE tied AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND c.relkind IN ('r', 'p', 'f')
    UNION
    SELECT h.inhparent FROM tied t
    JOIN pg_class c ON c.oid = t.oid
    JOIN pg_inherits h ON h.inhrelid = t.oid
    JOIN pg_attribute above ON above.attrelid = h.inhparent AND above.attname = %(column)s AND above.attnotnull
    JOIN pg_attribute here ON here.attrelid = t.oid AND here.attname = %(column)s AND here.attnotnull
    -- before 18 only partitions are bound to their parent's NOT NULL
    WHERE c.relispartition OR EXISTS (
        SELECT FROM pg_constraint x, pg_constraint y
        WHERE x.conrelid = t.oid AND x.contype = 'n' AND x.conkey = ARRAY[here.attnum] AND x.coninhcount > 0
          AND y.conrelid = h.inhparent AND y.contype = 'n' AND y.conkey = ARRAY[above.attnum] AND NOT y.connoinherit)
), below AS (
    SELECT oid, 0 AS level FROM tied
    UNION
    SELECT h.inhrelid, b.level + 1 FROM below b JOIN pg_inherits h ON h.inhparent = b.oid
), family AS (
    SELECT oid, max(level) AS level FROM below GROUP BY oid
)
SELECT n.nspname AS schema, c.relname AS table, a.attnotnull AS not_null, t.oid IS NOT NULL AS named,
       CASE WHEN EXISTS (
                SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary
                AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1])) THEN 'it is part of the primary key'
            WHEN EXISTS (
                SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident
                AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1])) THEN 'it is part of the replica identity'
            WHEN a.attidentity <> '' THEN 'it is an identity column' END AS refused,
       (WITH RECURSIVE domains AS (
            SELECT y.oid, y.typbasetype, y.typnotnull FROM pg_type y WHERE y.oid = a.atttypid
            UNION ALL
            SELECT y.oid, y.typbasetype, y.typnotnull FROM domains d JOIN pg_type y ON y.oid = d.typbasetype)
        SELECT format_type(oid, NULL) FROM domains WHERE typnotnull LIMIT 1) AS domain,
       k.conname AS constraint, k.conislocal AS local, k.connoinherit AS no_inherit, k.convalidated AS validated,
       obj_description(k.oid, 'pg_constraint') AS comment,
       EXISTS (SELECT FROM pg_inherits h JOIN family f ON f.oid = h.inhparent
               JOIN pg_constraint y ON y.conrelid = h.inhparent AND y.contype = 'n' AND y.conname = k.conname
               WHERE h.inhrelid = c.oid) AS comes_from_above
FROM family f JOIN pg_class c ON c.oid = f.oid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = %(column)s AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum]
LEFT JOIN (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = %(schema)s AND c.relname = %(table)s) t ON t.oid = c.oid
ORDER BY f.level DESC, c.oid
