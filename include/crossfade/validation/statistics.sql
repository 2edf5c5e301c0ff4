-- estimates: of given tables: pages of the main fork, and rows: as they are counted since the last VACUUM or ANALYZE that
-- the running server's statistics remember; else by the density that an earlier one found; null where there was none
SELECT n.nspname AS schema, c.relname AS name, size.pages,
       CASE WHEN size.pages = 0 THEN 0
            WHEN COALESCE(s.last_vacuum, s.last_autovacuum, s.last_analyze, s.last_autoanalyze) IS NOT NULL THEN s.n_live_tup
            WHEN c.reltuples >= 0 AND c.relpages > 0 THEN round(c.reltuples::float8 / c.relpages * size.pages)
       END::bigint AS rows
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS wanted(schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind = 'r'
CROSS JOIN LATERAL (SELECT pg_relation_size(c.oid) / current_setting('block_size')::bigint AS pages) AS size
LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
