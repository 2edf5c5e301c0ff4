-- unfinished: the validation of a run that was killed: id
SELECT id FROM crossfade.validation
WHERE migration_id = %(migration)s AND run_id = %(run)s AND mode = %(mode)s AND finished_at IS NULL
ORDER BY started_at DESC LIMIT 1

-- begin: enters a validation: id
INSERT INTO crossfade.validation (migration_id, run_id, mode, sides, batches)
VALUES (%(migration)s, %(run)s, %(mode)s, %(sides)s, %(batches)s)
RETURNING id

-- validation: one of them
SELECT id, migration_id, run_id, mode, started_at, finished_at, sides, batches, checks
FROM crossfade.validation WHERE id = %(id)s

-- open: what is concluded is under way again; nothing
UPDATE crossfade.validation SET finished_at = NULL, equal = NULL WHERE id = %(id)s AND finished_at IS NOT NULL

-- checked: enters what the checks found; nothing
UPDATE crossfade.validation SET checks = %(checks)s WHERE id = %(id)s

-- forget: lets tables whose comparison has ended be compared anew; nothing
WITH gone AS (
    DELETE FROM crossfade.table_check WHERE validation_id = %(id)s AND table_name = ANY (%(tables)s)
    RETURNING table_name
)
DELETE FROM crossfade.validation_part p USING gone WHERE p.validation_id = %(id)s AND p.table_name = gone.table_name

-- compared: enters what the comparison of a table found; nothing
INSERT INTO crossfade.table_check
    (validation_id, migration_id, run_id, table_name, source_rows, target_rows, equal, detail, ms, result)
SELECT id, migration_id, run_id, %(table)s, %(source_rows)s, %(target_rows)s, %(equal)s, %(detail)s, %(ms)s, %(result)s
FROM crossfade.validation WHERE id = %(id)s
ON CONFLICT (validation_id, table_name) DO UPDATE SET
    source_rows = EXCLUDED.source_rows, target_rows = EXCLUDED.target_rows, equal = EXCLUDED.equal,
    detail = EXCLUDED.detail, ms = EXCLUDED.ms, result = EXCLUDED.result, checked_at = clock_timestamp()

-- results: of the tables whose comparison has ended: result
SELECT result FROM crossfade.table_check
WHERE validation_id = %(id)s AND result IS NOT NULL ORDER BY table_name

-- conclude: enters the verdict: finished_at
UPDATE crossfade.validation SET finished_at = COALESCE(finished_at, clock_timestamp()), equal = %(equal)s
WHERE id = %(id)s RETURNING finished_at
