-- lob_columns: given tables that have columns of a type that DMS treats as a LOB, largest first
-- (user guide: PostgreSQL source, LOB types); domains count as what they are over; generated columns do not travel
WITH RECURSIVE base AS (
    SELECT t.oid AS type, t.oid AS base FROM pg_type t
    UNION ALL
    SELECT b.type, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.base WHERE t.typtype = 'd'
), lob AS (
    SELECT base.type, t.oid = 'bytea'::regtype AS bytes
    FROM base JOIN pg_type t ON t.oid = base.base AND t.typtype <> 'd'
    WHERE t.typcategory = 'A' OR t.typtype = 'c'
       OR (t.typnamespace = 'pg_catalog'::regnamespace
           AND t.typname IN ('text', 'bytea', 'xml', 'json', 'jsonb', 'tsvector', 'tsquery', 'path', 'polygon'))
       OR t.typname IN ('citext', 'hstore')
)
SELECT n.nspname AS schema, c.relname AS name,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid) AS primary_key,
       array_agg(a.attname::text ORDER BY a.attnum) AS columns,
       array_agg(lob.bytes ORDER BY a.attnum) AS bytes
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS wanted (schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind = 'r'
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
JOIN lob ON lob.type = a.atttypid
GROUP BY n.nspname, c.relname, c.oid
ORDER BY pg_table_size(c.oid) DESC
