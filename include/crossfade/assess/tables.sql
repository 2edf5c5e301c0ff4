-- some_tables: a few tables of users, to choose from
SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT IN ('information_schema', 'crossfade')
  AND n.nspname !~ '^pg_' ORDER BY 1, 2 LIMIT 20

-- owners: of the given roles, which are superusers, and whether we may act for them
SELECT rolname AS name, rolsuper AS superuser, pg_has_role(current_user, oid, 'USAGE') AS member
FROM pg_roles WHERE rolname = ANY(%(names)s) ORDER BY rolname

-- not_carried: tables whose rows are not in the WAL: foreign (f) and unlogged (u)
SELECT n.nspname AS schema, c.relname AS name, format('%I.%I', n.nspname, c.relname) AS identifier,
       CASE WHEN c.relkind = 'f' THEN 'f' ELSE 'u' END AS kind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (c.relkind = 'f' OR (c.relkind = 'r' AND c.relpersistence = 'u'))
  AND n.nspname NOT IN ('information_schema', 'crossfade') AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
