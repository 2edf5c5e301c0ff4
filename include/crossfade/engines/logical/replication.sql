-- slots: each slot's confirmed position, whether it has passed a given one, and how many bytes of WAL it is behind
SELECT slot_name, active_pid, wal_status,
       confirmed_flush_lsn >= COALESCE(%(lsn)s::pg_lsn, confirmed_flush_lsn) AS passed,
       pg_wal_lsn_diff(pg_current_wal_insert_lsn(), confirmed_flush_lsn)::bigint AS bytes_behind
FROM pg_replication_slots WHERE slot_name = ANY(%(names)s) AND database = current_database()

-- without_identity: tables of which rows that are updated or deleted could not be told apart by a subscriber
SELECT format('%%I.%%I', n.nspname, c.relname) AS name
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS wanted(schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
CROSS JOIN LATERAL (SELECT c.oid UNION SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf) AS leaf(oid)
JOIN pg_class l ON l.oid = leaf.oid AND l.relkind = 'r'
WHERE NOT (l.relreplident = 'f'
           OR (l.relreplident = 'd' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = l.oid AND i.indisprimary))
           OR (l.relreplident = 'i' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = l.oid AND i.indisreplident)))
ORDER BY 1
