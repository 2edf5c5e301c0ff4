-- superuser_sessions: client sessions of superusers in this database that the fence could not end
SELECT a.pid, a.usename AS role, a.application_name
FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND r.rolsuper
  AND a.usename <> ALL(%(exempt)s) AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
