-- subscription: one subscription of this database: whether it is enabled, has a worker, and which tables it names
SELECT s.subname, s.subenabled AS enabled,
       (SELECT max(w.pid) FROM pg_stat_subscription w WHERE w.subid = s.oid AND w.relid IS NULL) AS pid,
       ARRAY(SELECT n.nspname || '.' || c.relname FROM pg_subscription_rel r
             JOIN pg_class c ON c.oid = r.srrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE r.srsubid = s.oid AND r.srsubstate = 'r') AS tables
FROM pg_subscription s
WHERE s.subname = %(name)s AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())

-- slot: one slot: who reads it, how far its reader confirmed, how many bytes of WAL that is behind, and its state
SELECT slot_name, active_pid, confirmed_flush_lsn, wal_status,
       pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint AS bytes_behind
FROM pg_replication_slots WHERE slot_name = %(name)s AND database = current_database()
