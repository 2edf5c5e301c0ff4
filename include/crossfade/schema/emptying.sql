-- restored_objects: what a restore made in this database, as words for DROP; system, extensions and our own left out
WITH ours AS (
    SELECT oid FROM pg_namespace WHERE nspname NOT IN ('information_schema', 'crossfade') AND nspname !~ '^pg_'
), objects AS (
    SELECT 1 AS step, 'pg_class'::regclass AS catalog, c.oid,
           CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                          WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind
    FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relnamespace IN (SELECT oid FROM ours)
    UNION ALL
    SELECT 2, 'pg_proc'::regclass, p.oid, CASE p.prokind WHEN 'a' THEN 'AGGREGATE' ELSE 'ROUTINE' END
    FROM pg_proc p WHERE p.pronamespace IN (SELECT oid FROM ours)
    UNION ALL
    SELECT 3, 'pg_type'::regclass, t.oid, CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END
    FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE t.typnamespace IN (SELECT oid FROM ours) AND t.typtype IN ('b', 'c', 'd', 'e', 'r')
      AND (t.typrelid = 0 OR c.relkind = 'c') AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
    UNION ALL
    SELECT 4, 'pg_namespace'::regclass, n.oid, 'SCHEMA' FROM pg_namespace n
    WHERE n.oid IN (SELECT oid FROM ours) AND n.nspname <> 'public'
)
SELECT o.kind, (pg_identify_object(o.catalog, o.oid, 0)).identity AS identity
FROM objects o
WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.catalog AND d.objid = o.oid AND d.deptype IN ('e', 'i')
                  AND d.refobjid <> o.oid)  -- a partitioned table depends so on its own key columns
ORDER BY o.step, o.oid
