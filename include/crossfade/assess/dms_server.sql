-- slots: how many replication slots there are
SELECT count(*) FROM pg_replication_slots

-- senders: how many WAL senders run
SELECT count(*) FROM pg_stat_replication

-- setting_of_role: what is set for a role in this database, the most special first; no row where nothing is
SELECT split_part(setting, '=', 2) FROM pg_db_role_setting s, unnest(s.setconfig) AS setting
WHERE starts_with(setting, %(prefix)s)
  AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = %(role)s))
ORDER BY s.setrole = 0, s.setdatabase = 0
LIMIT 1
