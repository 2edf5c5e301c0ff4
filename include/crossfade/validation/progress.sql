-- parts: of one table of a validation, in order: number, keyed, lower, upper, result
SELECT number, keyed, lower, upper, result FROM crossfade.validation_part
WHERE validation_id = %(validation)s AND table_name = %(table)s ORDER BY number

-- begin: enters the parts of a table; nothing
INSERT INTO crossfade.validation_part (validation_id, table_name, number, keyed, lower, upper)
SELECT %(validation)s, %(table)s, number, keyed, lower, upper
FROM jsonb_to_recordset(%(parts)s) AS p(number integer, keyed boolean, lower text[], upper text[])

-- done: enters what was found in one part; nothing
UPDATE crossfade.validation_part SET result = %(result)s, done_at = clock_timestamp()
WHERE validation_id = %(validation)s AND table_name = %(table)s AND number = %(number)s
