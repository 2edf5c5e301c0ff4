-- leading_key_columns: of given tables, the first column of the primary key: never null, and indexed
WITH RECURSIVE base AS (
    SELECT t.oid AS type, t.oid AS base FROM pg_type t
    UNION ALL
    SELECT b.type, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.base WHERE t.typtype = 'd'
)
SELECT i.indrelid AS table_oid, a.attname AS column, t.typname AS type,
       cn.nspname AS collation_schema, co.collname AS collation_name
FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
JOIN base ON base.type = a.atttypid
JOIN pg_type t ON t.oid = base.base AND t.typtype <> 'd' AND t.typnamespace = 'pg_catalog'::regnamespace
LEFT JOIN pg_collation co ON co.oid = a.attcollation
LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
WHERE i.indisprimary AND i.indisvalid AND i.indrelid = ANY(%(oids)s)

-- shares: values of a column in ascending order, each with the part of the rows above the one before, up to it
SELECT value::text AS value, share
FROM (
    SELECT bound.value, CASE WHEN bound.number = 1 THEN 0 ELSE rest.share / GREATEST(array_length(bounds, 1) - 1, 1) END AS share
    FROM pg_stats s
    CROSS JOIN LATERAL (SELECT s.histogram_bounds::text::{type}[] AS bounds) AS histogram
    CROSS JOIN LATERAL (SELECT 1 - COALESCE((SELECT sum(f) FROM unnest(s.most_common_freqs) AS f), 0) AS share) AS rest
    CROSS JOIN LATERAL unnest(bounds) WITH ORDINALITY AS bound (value, number)
    WHERE s.schemaname = %(schema)s AND s.tablename = %(table)s AND s.attname = %(column)s AND NOT s.inherited
    UNION ALL
    SELECT common.value, common.share
    FROM pg_stats s
    CROSS JOIN LATERAL unnest(s.most_common_vals::text::{type}[], s.most_common_freqs) AS common (value, share)
    WHERE s.schemaname = %(schema)s AND s.tablename = %(table)s AND s.attname = %(column)s AND NOT s.inherited
) AS shares
ORDER BY shares.value {collation}
