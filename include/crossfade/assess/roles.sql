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
