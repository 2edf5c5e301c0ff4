-- slots: the known slot of this database; where none is known, those that a role reads from
SELECT s.slot_name AS name, s.active, s.wal_status,
       COALESCE(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.confirmed_flush_lsn), 0)::bigint AS bytes_behind
FROM pg_replication_slots s LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid
WHERE s.database = current_database() AND s.slot_type = 'logical'
  AND (s.slot_name = %(known)s OR (%(known)s::text IS NULL AND r.usename = %(role)s))

-- drop: drops the known slot where it is there
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %(known)s

-- unread: logical slots of this database that have no reader
SELECT slot_name AS name FROM pg_replication_slots
WHERE database = current_database() AND slot_type = 'logical' AND NOT active AND NOT temporary ORDER BY 1
