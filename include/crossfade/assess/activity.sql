-- superuser_sessions: client sessions of superusers in this database
SELECT a.pid, a.usename AS role, a.application_name
FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND r.rolsuper
ORDER BY a.backend_start
