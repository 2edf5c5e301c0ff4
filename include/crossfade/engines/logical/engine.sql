-- write_watermarks: a new token for each stream, and the token
INSERT INTO crossfade.watermark (stream, token) SELECT stream, 1 FROM unnest(%(streams)s::text[]) AS stream
ON CONFLICT (stream) DO UPDATE SET token = watermark.token + 1, written_at = clock_timestamp()
RETURNING stream, token

-- seen_watermarks: the token of each stream that has arrived, and when it was written
SELECT stream, token, written_at FROM crossfade.watermark WHERE stream = ANY(%(streams)s)

-- slots: each slot's confirmed position, whether it has passed a given one, and how many bytes of WAL it is behind
SELECT slot_name, active_pid, wal_status,
       confirmed_flush_lsn >= COALESCE(%(lsn)s::pg_lsn, confirmed_flush_lsn) AS passed,
       pg_wal_lsn_diff(pg_current_wal_insert_lsn(), confirmed_flush_lsn)::bigint AS bytes_behind
FROM pg_replication_slots WHERE slot_name = ANY(%(names)s) AND database = current_database()

-- drop_origins: removes the origins of copies that ended before they could tidy up
SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE starts_with(roname, %(prefix)s)
