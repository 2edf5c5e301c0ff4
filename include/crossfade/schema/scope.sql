-- relations: every table, foreign table, view and materialised view of users, with the root of its partition tree
WITH RECURSIVE ancestry AS (
    SELECT c.oid AS leaf, c.oid AS root FROM pg_class c WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')
    UNION ALL
    SELECT a.leaf, i.inhparent FROM ancestry a
    JOIN pg_class c ON c.oid = a.root AND c.relispartition
    JOIN pg_inherits i ON i.inhrelid = a.root
)
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       rn.nspname AS root_schema, rc.relname AS root_name
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN ancestry a ON a.leaf = c.oid
JOIN pg_class rc ON rc.oid = a.root AND NOT rc.relispartition
JOIN pg_namespace rn ON rn.oid = rc.relnamespace
WHERE n.nspname NOT IN ('information_schema', 'crossfade') AND n.nspname !~ '^pg_'
ORDER BY n.nspname, c.relname

-- with_dependants: the given relations, the views that read them however indirectly, and the sequences all of them own
WITH RECURSIVE gone AS (
    SELECT unnest(%(oids)s::oid[]) AS oid
    UNION
    SELECT w.ev_class FROM gone g
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = g.oid AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite w ON w.oid = d.objid
    JOIN pg_class v ON v.oid = w.ev_class AND v.relkind IN ('v', 'm')
), everything AS (
    SELECT oid FROM gone
    UNION
    SELECT s.oid FROM gone g
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = g.oid
        AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
)
SELECT c.oid, n.nspname AS schema, c.relname AS name
FROM everything JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY n.nspname, c.relname
