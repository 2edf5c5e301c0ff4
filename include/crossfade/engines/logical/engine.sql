-- slots: each slot's confirmed position, whether it has passed a given one, and how many bytes of WAL it is behind
SELECT slot_name, active_pid, wal_status,
       confirmed_flush_lsn >= COALESCE(%(lsn)s::pg_lsn, confirmed_flush_lsn) AS passed,
       pg_wal_lsn_diff(pg_current_wal_insert_lsn(), confirmed_flush_lsn)::bigint AS bytes_behind
FROM pg_replication_slots WHERE slot_name = ANY(%(names)s) AND database = current_database()

-- drop_origins: removes the origins of copies that ended before they could tidy up
SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE starts_with(roname, %(prefix)s)
