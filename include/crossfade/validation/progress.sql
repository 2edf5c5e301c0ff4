-- parts: of one table of a validation, in order: number, part, result
SELECT number, part, result FROM crossfade.validation_part
WHERE validation_id = %(validation)s AND table_name = %(table)s ORDER BY number

-- begin: enters the parts of a table; nothing
INSERT INTO crossfade.validation_part (validation_id, table_name, number, part)
SELECT %(validation)s, %(table)s, number, part FROM jsonb_to_recordset(%(parts)s) AS p(number integer, part jsonb)

-- done: enters what was found in one part; nothing
UPDATE crossfade.validation_part SET result = %(result)s, done_at = clock_timestamp()
WHERE validation_id = %(validation)s AND table_name = %(table)s AND number = %(number)s

-- slices: how a table is split for samples, what was compared longest ago first: number, part
SELECT number, part FROM crossfade.validation_slice
WHERE migration_id = %(migration)s AND table_name = %(table)s ORDER BY validated_at NULLS FIRST, random()

-- slice: splits a table for samples anew; nothing
WITH gone AS (
    DELETE FROM crossfade.validation_slice WHERE migration_id = %(migration)s AND table_name = %(table)s
        AND number NOT IN (SELECT number FROM jsonb_to_recordset(%(parts)s) AS p(number integer))
)
INSERT INTO crossfade.validation_slice (migration_id, table_name, number, part)
SELECT %(migration)s, %(table)s, number, part FROM jsonb_to_recordset(%(parts)s) AS p(number integer, part jsonb)
ON CONFLICT (migration_id, table_name, number) DO UPDATE SET part = EXCLUDED.part, validated_at = NULL

-- seen: enters that a slice was compared now; nothing
UPDATE crossfade.validation_slice SET validated_at = clock_timestamp()
WHERE migration_id = %(migration)s AND table_name = %(table)s AND part = %(part)s
