-- role: one role, and what it may do in this database
SELECT r.rolcanlogin AS login, r.rolsuper AS superuser,
       r.rolreplication OR r.rolsuper
       OR EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(r.oid, g.oid, 'MEMBER'))
       AS may_replicate,
       EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_superuser' AND pg_has_role(r.oid, g.oid, 'MEMBER'))
       AS rds_superuser,
       has_database_privilege(r.oid, current_database(), 'CONNECT') AS may_connect,
       r.rolsuper
       OR EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'pg_read_all_data' AND pg_has_role(r.oid, g.oid, 'USAGE'))
       AS reads_all
FROM pg_roles r WHERE r.rolname = %(name)s

-- writable: those of given tables that a role may change
SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(%(oids)s) AND has_table_privilege(%(role)s, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
ORDER BY 1

-- not_ours: of the given roles those for which we may not act
SELECT rolname AS name FROM pg_roles
WHERE rolname = ANY(%(names)s) AND NOT pg_has_role(current_user, oid, 'USAGE') ORDER BY 1
