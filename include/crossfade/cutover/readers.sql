-- replayed: whether it is a standby, up to where it has replayed, and whether that is far enough; NULL: it does not tell
SELECT pg_is_in_recovery() AS standby,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END::text AS at,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() >= %(lsn)s::pg_lsn END AS replayed

-- primary: what a replica of this server shares with it, and where its WAL is now
SELECT (pg_control_system()).system_identifier,
       (pg_control_checkpoint()).timeline_id,
       pg_current_wal_lsn()::text AS at

-- replica: what tells whose replica it is, and by how many bytes it is behind the LSN given
SELECT pg_is_in_recovery() AS standby,
       (pg_control_system()).system_identifier,
       (pg_control_checkpoint()).timeline_id,
       CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(%(lsn)s::pg_lsn, pg_last_wal_replay_lsn()) END AS behind
