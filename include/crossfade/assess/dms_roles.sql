-- role: one role and what it may do in this database
SELECT r.rolname AS name, r.rolcanlogin AS login, r.rolsuper AS superuser,
       r.rolreplication OR r.rolsuper
       OR EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(r.oid, g.oid, 'MEMBER'))
       AS may_replicate,
       EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_superuser' AND pg_has_role(r.oid, g.oid, 'MEMBER'))
       AS rds_superuser,
       has_database_privilege(r.oid, current_database(), 'CONNECT') AS may_connect
FROM pg_roles r WHERE r.rolname = %(name)s

-- unreadable: those of given tables that a role may not read
SELECT c.oid FROM pg_class c
WHERE c.oid = ANY(%(oids)s)
  AND NOT (has_table_privilege(%(role)s, c.oid, 'SELECT') AND has_schema_privilege(%(role)s, c.relnamespace, 'USAGE'))
ORDER BY array_position(%(oids)s, c.oid)

-- filtered: those of given tables in which row level security filters for a role
SELECT c.oid FROM pg_class c
WHERE c.oid = ANY(%(oids)s) AND c.relrowsecurity
  AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = %(role)s AND (r.rolsuper OR r.rolbypassrls))
  AND (c.relforcerowsecurity OR NOT pg_has_role(%(role)s, c.relowner, 'USAGE'))
ORDER BY array_position(%(oids)s, c.oid)

-- unwritable: those of given tables that a role may not read, write and empty
SELECT c.oid FROM pg_class c
WHERE c.oid = ANY(%(oids)s)
  AND NOT (has_schema_privilege(%(role)s, c.relnamespace, 'USAGE') AND has_table_privilege(%(role)s, c.oid, 'SELECT')
           AND has_table_privilege(%(role)s, c.oid, 'INSERT') AND has_table_privilege(%(role)s, c.oid, 'UPDATE')
           AND has_table_privilege(%(role)s, c.oid, 'DELETE') AND has_table_privilege(%(role)s, c.oid, 'TRUNCATE'))
ORDER BY array_position(%(oids)s, c.oid)

-- lock: why CONNECT could not be taken from a role
SELECT r.rolsuper AS superuser, r.rolreplication AS replication, d.datdba = r.oid AS owner
FROM pg_roles r, pg_database d WHERE r.rolname = %(role)s AND d.datname = current_database()

-- memberships: roles that keep CONNECT and whose privileges a role has: the database's owner and the given ones
SELECT g.rolname AS name FROM pg_roles g, pg_roles r, pg_database d
WHERE r.rolname = %(role)s AND NOT r.rolsuper AND d.datname = current_database() AND g.oid <> r.oid
  AND (g.oid = d.datdba OR g.rolname = ANY(%(keep)s)) AND pg_has_role(r.oid, g.oid, 'USAGE')
ORDER BY 1
