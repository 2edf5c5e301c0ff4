-- database: who owns this database, and what we may do in it
SELECT pg_get_userbyid(datdba) AS owner, pg_has_role(current_user, datdba, 'USAGE') AS owner_member,
       has_database_privilege(oid, 'CREATE') AS may_create
FROM pg_database WHERE datname = current_database()

-- may_replicate: whether a role may open replication connections; no row where it does not exist
SELECT r.rolreplication OR r.rolsuper
       OR EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(r.oid, g.oid, 'MEMBER'))
       AS may_replicate
FROM pg_roles r WHERE r.rolname = %(name)s

-- roles: attributes of the given roles
SELECT rolname AS name, rolcanlogin AS login, rolsuper AS superuser, rolreplication AS replication
FROM pg_roles WHERE rolname = ANY(%(names)s)

-- masters: of the given roles, which are no superusers and run the server all the same, why, and in which schemas they work
SELECT r.rolname AS name,
       CASE WHEN m.oid IS NOT NULL THEN 'it is a member of rds_superuser, as the master user is'
            ELSE 'it owns the database and may create roles' END AS why,
       ARRAY(SELECT DISTINCT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname NOT IN ('information_schema', 'crossfade')
               AND n.nspname !~ '^pg_' AND c.relpersistence <> 't' ORDER BY 1) AS schemas
FROM pg_roles r
LEFT JOIN pg_roles m ON m.rolname = 'rds_superuser' AND pg_has_role(r.oid, m.oid, 'MEMBER')
WHERE r.rolname = ANY(%(names)s) AND NOT r.rolsuper
  AND (m.oid IS NOT NULL
       OR (r.rolcreaterole AND EXISTS (SELECT FROM pg_database WHERE datname = current_database() AND datdba = r.oid)))
ORDER BY 1
