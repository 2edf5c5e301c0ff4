-- long: transactions of this database open for longer than given, oldest first; never our own sessions or a walsender's
SELECT a.pid, a.usename AS role, a.datname AS database, a.application_name, a.state,
       clock_timestamp() - a.xact_start AS age, left(regexp_replace(a.query, '\s+', ' ', 'g'), 80) AS query,
       a.xact_start, r.rolsuper AS superuser
FROM pg_stat_activity a
JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
  AND a.usename <> ALL(%(exempt)s) AND a.application_name NOT LIKE 'crossfade/%%'
  AND clock_timestamp() - a.xact_start > %(older_than)s
ORDER BY a.xact_start

-- terminate: ends the session of a transaction, unless that has ended and the session is in another; whether it did
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %(pid)s AND xact_start = %(xact_start)s
