-- slots: of given names: how many bytes of WAL each keeps, and whether it has lost what it needs
SELECT slot_name AS name, COALESCE(wal_status = 'lost', false) AS lost,
       COALESCE(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint AS retained
FROM pg_replication_slots WHERE slot_name = ANY(%(names)s) AND database = current_database() ORDER BY 1

-- errors: how often applying has failed since the subscription was made, and all that is counted (15 and newer)
SELECT s.apply_error_count AS errors, to_jsonb(s) AS counted FROM pg_stat_subscription_stats s WHERE s.subname = %(name)s

-- let_in: which of these roles may connect to this database, superusers left out
SELECT rolname AS name FROM pg_roles
WHERE rolname = ANY(%(roles)s) AND NOT rolsuper AND has_database_privilege(oid, current_database(), 'CONNECT') ORDER BY 1
