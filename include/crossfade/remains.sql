-- objects: publications, slots and subscriptions of this database whose names match the pattern
SELECT 'subscription' AS kind, subname AS name FROM pg_subscription
WHERE subname ~ %(pattern)s AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL
SELECT 'slot', slot_name FROM pg_replication_slots WHERE slot_name ~ %(pattern)s AND database = current_database()
UNION ALL
SELECT 'publication', pubname FROM pg_publication WHERE pubname ~ %(pattern)s
ORDER BY 1 DESC, 2

-- partitions: of the watermark table, the stream that each is for
SELECT substr(relname, length('watermark_') + 1) AS stream FROM pg_class
WHERE relnamespace = to_regnamespace('crossfade') AND relispartition AND relkind = 'r' ORDER BY 1

-- tables: what the schema crossfade holds, partitions left out; and whether by plan, by migration, or by neither
SELECT c.relname AS name,
       CASE WHEN c.relname = 'migration' THEN 'id' ELSE
            (SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid AND attname IN ('plan', 'migration_id')
             AND NOT attisdropped) END AS key
FROM pg_class c WHERE c.relnamespace = to_regnamespace('crossfade') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY 1

-- others_migrations: other plans that were moved into this database, and whether they are under way or can still go back
SELECT plan, bool_or(state NOT IN ('abandoned', 'completed')) AS live FROM crossfade.migration
WHERE plan <> %(plan)s GROUP BY plan

-- others_here: plans that have closed this database, left a cutover of theirs unfinished, or moved away and can go back
SELECT plan FROM crossfade.fence WHERE plan <> %(plan)s
UNION
SELECT plan FROM (SELECT DISTINCT ON (plan) plan, direction, decision, finished_at FROM crossfade.attempt
                  WHERE plan <> %(plan)s ORDER BY plan, generation DESC, started_at DESC) AS newest
WHERE finished_at IS NULL OR (direction = 'forward' AND decision = 'commit')
