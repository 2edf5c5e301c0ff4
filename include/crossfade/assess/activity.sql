-- superuser_sessions: client sessions of superusers in this database
SELECT a.pid, a.usename AS role, a.application_name
FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND r.rolsuper
ORDER BY a.backend_start

-- sessions: client sessions in this database that a fence would end: not ours, not of superusers, not of who replicates
SELECT a.pid, extract(epoch FROM a.backend_start)::float8 AS started, a.usename AS role, a.application_name,
       coalesce(host(a.client_addr), 'the server''s own host') AS address
FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND r.rolname <> current_user
  AND NOT r.rolsuper AND NOT r.rolreplication
  AND NOT EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(r.oid, g.oid, 'MEMBER'))
