-- unfinished: the validation of a run that was killed, unless the migration has another plan or state since: id
SELECT v.id FROM crossfade.validation v JOIN crossfade.migration m ON m.id = v.migration_id
WHERE m.id = %(migration)s AND v.run_id = %(run)s AND v.mode = %(mode)s AND v.finished_at IS NULL
  AND v.started_at > m.changed_at
ORDER BY v.started_at DESC LIMIT 1

-- begin: enters a validation: id
INSERT INTO crossfade.validation (migration_id, run_id, mode, sides, batches, plan_hash)
VALUES (%(migration)s, %(run)s, %(mode)s, %(sides)s, %(batches)s, %(hash)s)
RETURNING id

-- validation: one of them
SELECT id, migration_id, run_id, mode, started_at, finished_at, sides, batches, checks
FROM crossfade.validation WHERE id = %(id)s

-- open: what is concluded is under way again; that something differs is known until it is concluded anew; nothing
UPDATE crossfade.validation SET finished_at = NULL, equal = NULLIF(equal, true) WHERE id = %(id)s

-- hold: lets nobody open or conclude it until this transaction ends; nothing
SELECT FROM crossfade.validation WHERE id = %(id)s FOR UPDATE

-- differs: enters that something does; nothing
UPDATE crossfade.validation SET equal = false WHERE id = %(id)s

-- checked: enters what the checks found, NULL before they begin; nothing
UPDATE crossfade.validation SET checks = %(checks)s, checks_done_at = clock_timestamp() WHERE id = %(id)s

-- forget: lets tables be compared anew, but for those of which a part is left and that were not loaded since; nothing
WITH gone AS (
    DELETE FROM crossfade.table_check WHERE validation_id = %(id)s AND table_name = ANY (%(tables)s)
    RETURNING table_name
), loaded AS (
    SELECT d.table_name FROM crossfade.validation_part d
    JOIN crossfade.validation v ON v.id = d.validation_id
    JOIN crossfade.part p ON p.migration_id = v.migration_id AND p.table_name = d.table_name
    WHERE d.validation_id = %(id)s AND d.table_name = ANY (%(tables)s) AND p.changed_at > d.done_at
)
DELETE FROM crossfade.validation_part
WHERE validation_id = %(id)s AND table_name IN (SELECT table_name FROM gone UNION SELECT table_name FROM loaded)

-- compared: enters what the comparison of a table found; nothing
INSERT INTO crossfade.table_check
    (validation_id, migration_id, run_id, table_name, source_rows, target_rows, equal, detail, ms, result)
SELECT id, migration_id, run_id, %(table)s, %(source_rows)s, %(target_rows)s, %(equal)s, %(detail)s, %(ms)s, %(result)s
FROM crossfade.validation WHERE id = %(id)s
ON CONFLICT (validation_id, table_name) DO UPDATE SET
    source_rows = EXCLUDED.source_rows, target_rows = EXCLUDED.target_rows, equal = EXCLUDED.equal,
    detail = EXCLUDED.detail, ms = EXCLUDED.ms, result = EXCLUDED.result, checked_at = clock_timestamp()

-- results: of the tables whose comparison has ended, and that were not loaded again since: result
SELECT c.result FROM crossfade.table_check c
LEFT JOIN crossfade.part p ON p.migration_id = c.migration_id AND p.table_name = c.table_name
WHERE c.validation_id = %(id)s AND c.result IS NOT NULL AND (p.changed_at IS NULL OR p.changed_at <= c.checked_at)
ORDER BY c.table_name

-- conclude: enters the verdict; nothing
UPDATE crossfade.validation SET finished_at = COALESCE(finished_at, clock_timestamp()), equal = %(equal)s
WHERE id = %(id)s
