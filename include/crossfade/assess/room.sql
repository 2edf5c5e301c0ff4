-- foreign_slots: how many replication slots others hold
SELECT count(*) FROM pg_replication_slots WHERE NOT starts_with(slot_name::text, %(prefix)s)

-- foreign_senders: how many WAL senders others use
SELECT count(*) FROM pg_stat_replication WHERE NOT starts_with(COALESCE(application_name, ''), %(prefix)s)

-- foreign_apply_workers: how many logical replication workers run for others, in every database
SELECT count(*) FROM pg_stat_activity a
WHERE a.backend_type ~ '^logical replication .*worker$'
  AND NOT EXISTS (SELECT FROM pg_stat_subscription s WHERE s.pid = a.pid AND starts_with(s.subname::text, %(prefix)s))

-- background_workers: how many places of max_worker_processes others take
SELECT count(*) FROM pg_stat_activity a
WHERE a.backend_type NOT IN ('client backend', 'walsender', 'walreceiver', 'checkpointer', 'background writer', 'walwriter',
                             'archiver', 'startup', 'autovacuum launcher', 'autovacuum worker', 'io worker',
                             'slotsync worker', 'walsummarizer', 'standalone backend', 'logger', 'parallel worker')
  AND NOT EXISTS (SELECT FROM pg_stat_subscription s WHERE s.pid = a.pid AND starts_with(s.subname::text, %(prefix)s))

-- foreign_origins: how many replication origins others have
SELECT count(*) FROM pg_replication_origin o
WHERE NOT starts_with(o.roname, %(prefix)s)
  AND NOT EXISTS (SELECT FROM pg_subscription s WHERE 'pg_' || s.oid = o.roname AND starts_with(s.subname::text, %(prefix)s))
