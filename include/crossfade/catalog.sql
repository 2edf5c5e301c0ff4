-- tables: every ordinary table (leaf partitions included) outside the system's and our own schemas, its root, key and size
WITH RECURSIVE ancestry AS (
    SELECT c.oid AS leaf, c.oid AS root FROM pg_class c WHERE c.relkind = 'r' AND c.relpersistence = 'p'
    UNION ALL
    SELECT a.leaf, i.inhparent FROM ancestry a JOIN pg_inherits i ON i.inhrelid = a.root
    JOIN pg_class c ON c.oid = a.root AND c.relispartition
), roots AS (
    SELECT leaf, root FROM ancestry a
    WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = a.root AND c.relispartition)
), identity AS (
    SELECT i.indrelid, array_agg(a.attname::text ORDER BY k.ord) AS key
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, ord)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE k.ord <= i.indnkeyatts AND i.indisvalid
      AND ((c.relreplident = 'd' AND i.indisprimary) OR (c.relreplident = 'i' AND i.indisreplident))
    GROUP BY i.indrelid
)
SELECT c.oid, n.nspname AS schema, c.relname AS name, rn.nspname AS root_schema, rc.relname AS root_name,
       pg_get_userbyid(c.relowner) AS owner, c.relreplident AS replica_identity,
       COALESCE(identity.key, '{}') AS key, c.relfilenode,
       pg_table_size(c.oid) AS bytes, GREATEST(c.reltuples, 0)::bigint AS rows_estimate,
       pg_relation_size(c.oid) / current_setting('block_size')::int AS pages
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN roots ON roots.leaf = c.oid
JOIN pg_class rc ON rc.oid = roots.root
JOIN pg_namespace rn ON rn.oid = rc.relnamespace
LEFT JOIN identity ON identity.indrelid = c.oid
WHERE n.nspname NOT IN ('information_schema', 'crossfade') AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname

-- columns: the columns of given tables in order; "binary" tells whether COPY's binary format means the same elsewhere
WITH RECURSIVE base AS (
    SELECT t.oid AS type, t.oid AS base FROM pg_type t
    UNION ALL
    SELECT b.type, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.base WHERE t.typtype = 'd'
)
SELECT a.attrelid AS table_oid, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AS not_null, a.attgenerated <> '' AS generated,
       -- arrays and composites of a user's types carry OIDs, which differ between servers; reg* types are OIDs
       (t.typtype = 'e' OR (t.oid < 16384 AND t.typsend <> 0 AND t.typtype IN ('b', 'r', 'm')
                            AND t.typname !~ '^_?reg')) AS binary,
       CASE WHEN t.oid < 16384 AND t.typtype = 'b' THEN t.typname::text ELSE '' END AS base_type
FROM pg_attribute a
JOIN base ON base.type = a.atttypid
JOIN pg_type t ON t.oid = base.base AND t.typtype <> 'd'
WHERE a.attrelid = ANY(%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum

-- sequences: every sequence outside the system's and our own schemas, with its bounds
SELECT n.nspname AS schema, c.relname AS name, s.seqincrement AS increment, s.seqmin AS minimum, s.seqmax AS maximum
FROM pg_sequence s
JOIN pg_class c ON c.oid = s.seqrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('information_schema', 'crossfade') AND n.nspname !~ '^pg_' AND c.relpersistence <> 't'
ORDER BY n.nspname, c.relname

-- blocking_transactions: transactions that are open in any database, oldest first, without our own session
SELECT pid, usename AS role, datname AS database, application_name, state, now() - xact_start AS age,
       left(regexp_replace(query, '\s+', ' ', 'g'), 80) AS query
FROM pg_stat_activity
WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL OR state LIKE 'idle in transaction%%')
ORDER BY xact_start

-- prepared_transactions: two-phase transactions of this database that were neither committed nor rolled back
SELECT gid, owner AS role, database, now() - prepared AS age FROM pg_prepared_xacts
WHERE database = current_database() ORDER BY prepared

-- definition_stamp: one hash over what row replication depends on; changes with every DDL that matters to it
SELECT md5(concat_ws('|',
  (SELECT string_agg(concat_ws(' ', c.oid, c.relname, c.relnamespace, c.relkind, c.relpersistence, c.relreplident,
                               c.relispartition), ',' ORDER BY c.oid)
   FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relnamespace = ANY(spaces) AND c.relpersistence = 'p'),
  (SELECT string_agg(concat_ws(' ', a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull,
                               a.atthasdef, a.attidentity, a.attgenerated), ',' ORDER BY a.attrelid, a.attnum)
   FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
   WHERE c.relkind IN ('r', 'p') AND c.relnamespace = ANY(spaces) AND c.relpersistence = 'p' AND a.attnum > 0
     AND NOT a.attisdropped),
  (SELECT string_agg(concat_ws(' ', x.oid, x.convalidated), ',' ORDER BY x.oid)
   FROM pg_constraint x WHERE x.connamespace = ANY(spaces)),
  (SELECT string_agg(concat_ws(' ', i.indexrelid, i.indisvalid, i.indisunique, i.indisreplident), ',' ORDER BY i.indexrelid)
   FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = ANY(spaces)),
  (SELECT string_agg(concat_ws(' ', t.oid, t.tgenabled), ',' ORDER BY t.oid)
   FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = ANY(spaces) AND NOT t.tgisinternal),
  (SELECT string_agg(concat_ws(' ', p.oid, p.xmin), ',' ORDER BY p.oid) FROM pg_proc p WHERE p.pronamespace = ANY(spaces)),
  (SELECT string_agg(concat_ws(' ', e.oid, e.enumlabel), ',' ORDER BY e.oid) FROM pg_enum e)
)) AS stamp
FROM (SELECT array_agg(oid) AS spaces FROM pg_namespace
      WHERE nspname NOT IN ('information_schema', 'crossfade') AND nspname !~ '^pg_') AS s
