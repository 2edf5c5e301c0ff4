-- identities: catalog and identity of everything that post-data can create
SELECT 'pg_class'::regclass::oid AS catalog, i.identity
FROM pg_class c, pg_identify_object('pg_class'::regclass, c.oid, 0) AS i
WHERE c.relkind IN ('i', 'I', 'm', 'v') AND c.oid >= 16384
UNION ALL SELECT 'pg_constraint'::regclass, i.identity
FROM pg_constraint c, pg_identify_object('pg_constraint'::regclass, c.oid, 0) AS i WHERE c.oid >= 16384
UNION ALL SELECT 'pg_trigger'::regclass, i.identity
FROM pg_trigger t, pg_identify_object('pg_trigger'::regclass, t.oid, 0) AS i WHERE NOT t.tgisinternal
UNION ALL SELECT 'pg_rewrite'::regclass, i.identity
FROM pg_rewrite r, pg_identify_object('pg_rewrite'::regclass, r.oid, 0) AS i WHERE r.oid >= 16384
UNION ALL SELECT 'pg_policy'::regclass, i.identity
FROM pg_policy p, pg_identify_object('pg_policy'::regclass, p.oid, 0) AS i
UNION ALL SELECT 'pg_statistic_ext'::regclass, i.identity
FROM pg_statistic_ext s, pg_identify_object('pg_statistic_ext'::regclass, s.oid, 0) AS i
UNION ALL SELECT 'pg_event_trigger'::regclass, i.identity
FROM pg_event_trigger e, pg_identify_object('pg_event_trigger'::regclass, e.oid, 0) AS i
UNION ALL SELECT 'pg_proc'::regclass, i.identity
FROM pg_proc f, pg_identify_object('pg_proc'::regclass, f.oid, 0) AS i WHERE f.oid >= 16384

-- not_validated: identities of constraints of the target that do not hold for old rows yet
SELECT i.identity FROM pg_constraint c, pg_identify_object('pg_constraint'::regclass, c.oid, 0) AS i
WHERE c.contype = 'f' AND NOT c.convalidated

-- analyzable: tables and materialised views with rows; a partitioned table stands for its partitions
SELECT i.identity FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_identify_object('pg_class'::regclass, c.oid, 0) AS i
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.relispopulated AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('information_schema', 'crossfade') AND n.nspname !~ '^pg_'
ORDER BY 1

-- foreign_keys_of: foreign keys from or to given tables; those of a partition as the key of the table they come from
WITH RECURSIVE chosen AS (
    SELECT c.oid FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS t(schema, name)
    JOIN pg_namespace n ON n.nspname = t.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name
), keys AS (
    SELECT x.oid, x.conparentid FROM pg_constraint x
    WHERE x.contype = 'f' AND (x.conrelid IN (SELECT oid FROM chosen) OR x.confrelid IN (SELECT oid FROM chosen))
    UNION
    SELECT x.oid, x.conparentid FROM keys k JOIN pg_constraint x ON x.oid = k.conparentid
)
SELECT i.identity AS table, x.conname AS name
FROM keys JOIN pg_constraint x USING (oid)
CROSS JOIN LATERAL pg_identify_object('pg_class'::regclass, x.conrelid, 0) AS i
WHERE x.conparentid = 0 ORDER BY 1, 2

-- triggers_of: user triggers of given tables; those of a partition as the trigger of the table they come from
WITH RECURSIVE chosen AS (
    SELECT c.oid FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS t(schema, name)
    JOIN pg_namespace n ON n.nspname = t.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name
), triggers AS (
    SELECT g.oid, g.tgparentid FROM pg_trigger g WHERE NOT g.tgisinternal AND g.tgrelid IN (SELECT oid FROM chosen)
    UNION
    SELECT g.oid, g.tgparentid FROM triggers t JOIN pg_trigger g ON g.oid = t.tgparentid
)
SELECT i.identity AS table, g.tgname AS name
FROM triggers JOIN pg_trigger g USING (oid)
CROSS JOIN LATERAL pg_identify_object('pg_class'::regclass, g.tgrelid, 0) AS i
WHERE g.tgparentid = 0 ORDER BY 1, 2
