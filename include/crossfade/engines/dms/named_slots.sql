-- slot: one slot of this database: plugin, reader, how far that has confirmed, and whether it begins before the end of the WAL
SELECT plugin, active, wal_status, confirmed_flush_lsn AS position,
       confirmed_flush_lsn <= pg_current_wal_insert_lsn() AS begun,
       COALESCE(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), confirmed_flush_lsn), 0)::bigint AS bytes_behind
FROM pg_replication_slots WHERE slot_name = %(name)s AND database = current_database() AND slot_type = 'logical'
