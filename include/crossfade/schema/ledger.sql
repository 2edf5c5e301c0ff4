-- foreign_keys: foreign keys from or to given tables, those of a partition as the key of the table they come from; what drops and what makes each
WITH RECURSIVE chosen AS (
    SELECT c.oid FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS t(schema, name)
    JOIN pg_namespace n ON n.nspname = t.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name
), keys AS (
    SELECT x.oid, x.conparentid FROM pg_constraint x
    WHERE x.contype = 'f' AND (x.conrelid IN (SELECT oid FROM chosen) OR x.confrelid IN (SELECT oid FROM chosen))
    UNION
    SELECT x.oid, x.conparentid FROM keys k JOIN pg_constraint x ON x.oid = k.conparentid
), found AS (
    SELECT n.nspname, c.relname, x.conname, format('%%I.%%I', n.nspname, c.relname) AS identity, x.oid,
           -- ONLY is refused for a foreign key of a partitioned table, and before 18 so is NOT VALID
           CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END AS scope,
           c.relkind <> 'p' OR current_setting('server_version_num')::int >= 180000 AS can_wait,
           pg_get_constraintdef(x.oid) AS definition, obj_description(x.oid, 'pg_constraint') AS comment
    FROM keys JOIN pg_constraint x USING (oid)
    JOIN pg_class c ON c.oid = x.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE x.conparentid = 0
), stages AS (
    SELECT *, can_wait AND definition NOT LIKE '%%NOT VALID' AND definition NOT LIKE '%%NOT ENFORCED' AS in_two FROM found
)
SELECT nspname AS schema, relname AS table, conname AS name,
       ARRAY[format('ALTER TABLE %%s DROP CONSTRAINT IF EXISTS %%I', identity, conname)] AS drop,
       ARRAY[format('ALTER TABLE %%s%%s ADD CONSTRAINT %%I %%s%%s', scope, identity, conname, definition,
                    CASE WHEN in_two THEN ' NOT VALID' END)
             || CASE WHEN comment IS NULL THEN ''
                     ELSE format(E';\nCOMMENT ON CONSTRAINT %%I ON %%s IS %%L', conname, identity, comment) END]
       || CASE WHEN in_two THEN ARRAY[format('ALTER TABLE %%s VALIDATE CONSTRAINT %%I', identity, conname)]
               ELSE '{}' END AS definition
FROM stages ORDER BY 1, 2, 3

-- triggers: user triggers of given tables, those of a partition as the trigger of the table they come from; what drops and what makes each
WITH RECURSIVE chosen AS (
    SELECT c.oid FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS t(schema, name)
    JOIN pg_namespace n ON n.nspname = t.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name
), climbed AS (
    SELECT g.oid, g.tgparentid FROM pg_trigger g WHERE NOT g.tgisinternal AND g.tgrelid IN (SELECT oid FROM chosen)
    UNION
    SELECT g.oid, g.tgparentid FROM climbed t JOIN pg_trigger g ON g.oid = t.tgparentid
), family AS (
    SELECT oid AS root, oid, 0 AS level FROM climbed WHERE tgparentid = 0
    UNION ALL
    SELECT f.root, g.oid, f.level + 1 FROM family f JOIN pg_trigger g ON g.tgparentid = f.oid
), members AS (
    SELECT f.root, f.level, g.oid, g.tgname, g.tgenabled, n.nspname, c.relname,
           format('%%I.%%I', n.nspname, c.relname) AS identity, obj_description(g.oid, 'pg_trigger') AS comment
    FROM family f JOIN pg_trigger g USING (oid)
    JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
), states AS (
    SELECT root, string_agg(
        CASE WHEN tgenabled <> 'O' THEN format(E';\nALTER TABLE ONLY %%s %%s TRIGGER %%I', identity,
            CASE tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, tgname) ELSE '' END
        || CASE WHEN comment IS NULL THEN ''
                ELSE format(E';\nCOMMENT ON TRIGGER %%I ON %%s IS %%L', tgname, identity, comment) END,
        '' ORDER BY level, identity) AS statements
    FROM members GROUP BY root
)
SELECT m.nspname AS schema, m.relname AS table, m.tgname AS name,
       ARRAY[format('DROP TRIGGER IF EXISTS %%I ON %%s', m.tgname, m.identity)] AS drop,
       ARRAY[pg_get_triggerdef(m.oid) || s.statements] AS definition
FROM members m JOIN states s USING (root) WHERE m.level = 0 ORDER BY 1, 2, 3

-- indexes: indexes of given tables, those of a partition with the index they are attached to; what drops and what makes each, and why one stays
WITH RECURSIVE chosen AS (
    SELECT c.oid FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS t(schema, name)
    JOIN pg_namespace n ON n.nspname = t.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name
), climbed AS (
    SELECT indexrelid AS oid FROM pg_index WHERE indrelid IN (SELECT oid FROM chosen)
    UNION
    SELECT h.inhparent FROM climbed c JOIN pg_inherits h ON h.inhrelid = c.oid
), family AS (
    SELECT oid AS root, oid, NULL::oid AS parent, 0 AS level FROM climbed
    WHERE NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = climbed.oid)
    UNION ALL
    SELECT f.root, h.inhrelid, f.oid, f.level + 1 FROM family f JOIN pg_inherits h ON h.inhparent = f.oid
), members AS (
    SELECT f.*, x.indisprimary, x.indisreplident, x.indisclustered, x.indisvalid, c.relkind, c.relname AS name, s.spcname,
           n.nspname AS schema, t.relname AS table, format('%%I.%%I', n.nspname, c.relname) AS identity,
           format('%%I.%%I', n.nspname, t.relname) AS of_table, k.conname, k.oid AS constraint_oid,
           obj_description(f.oid, 'pg_class') AS comment, obj_description(k.oid, 'pg_constraint') AS constraint_comment,
           EXISTS (SELECT FROM pg_constraint r WHERE r.contype = 'f' AND r.conindid = f.oid) AS referenced
    FROM family f JOIN pg_index x ON x.indexrelid = f.oid
    JOIN pg_class c ON c.oid = f.oid JOIN pg_class t ON t.oid = x.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
    LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
    LEFT JOIN pg_constraint k ON k.conindid = f.oid AND k.conrelid = x.indrelid AND k.contype IN ('p', 'u', 'x')
), made AS (
    SELECT m.root, string_agg(
        CASE WHEN m.spcname IS NULL THEN '' ELSE format(E'SET LOCAL default_tablespace = %%L;\n', m.spcname) END
        || CASE WHEN m.conname IS NULL THEN pg_get_indexdef(m.oid)
                ELSE format('ALTER TABLE ONLY %%s ADD CONSTRAINT %%I %%s', m.of_table, m.conname,
                            pg_get_constraintdef(m.constraint_oid)) END
        || CASE WHEN m.spcname IS NULL THEN '' ELSE E';\nSET LOCAL default_tablespace = ''''' END
        || COALESCE((SELECT string_agg(format(E';\nALTER INDEX %%s ALTER COLUMN %%s SET STATISTICS %%s',
                                              m.identity, a.attnum, a.attstattarget), '' ORDER BY a.attnum)
                     FROM pg_attribute a WHERE a.attrelid = m.oid AND a.attstattarget >= 0), '')
        || CASE WHEN m.indisclustered THEN format(E';\nALTER TABLE %%s CLUSTER ON %%I', m.of_table, m.name) ELSE '' END
        || CASE WHEN m.comment IS NULL THEN '' ELSE format(E';\nCOMMENT ON INDEX %%s IS %%L', m.identity, m.comment) END
        || CASE WHEN m.constraint_comment IS NULL THEN ''
                ELSE format(E';\nCOMMENT ON CONSTRAINT %%I ON %%s IS %%L', m.conname, m.of_table, m.constraint_comment) END
        || CASE WHEN p.oid IS NULL THEN '' ELSE format(E';\nALTER INDEX %%s ATTACH PARTITION %%s', p.identity, m.identity) END,
        E';\n' ORDER BY m.level, m.identity) AS statements,
        CASE WHEN bool_or(m.indisprimary) THEN 'it is a primary key'
             WHEN bool_or(m.indisreplident) THEN 'it is a replica identity'
             WHEN bool_or(m.referenced) THEN 'a foreign key points at it'
             WHEN bool_or(NOT m.indisvalid AND m.relkind = 'i') THEN 'it is invalid: REINDEX or drop it'
             WHEN EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = m.root
                          AND d.deptype = 'e') THEN 'it belongs to an extension' END AS kept
    FROM members m LEFT JOIN members p ON p.root = m.root AND p.oid = m.parent GROUP BY m.root
)
SELECT m.schema, m.table, m.name, made.kept,
       ARRAY[CASE WHEN m.conname IS NULL THEN format('DROP INDEX IF EXISTS %%s', m.identity)
                  ELSE format('ALTER TABLE %%s DROP CONSTRAINT IF EXISTS %%I', m.of_table, m.conname) END] AS drop,
       ARRAY[made.statements] AS definition
FROM members m JOIN made USING (root) WHERE m.level = 0 ORDER BY 1, 2, 3

-- there: whether an object of that kind and name is on its table
SELECT EXISTS (
    SELECT FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE n.nspname = %(schema)s AND t.relname = %(table)s AND CASE %(kind)s
        WHEN 'foreign key' THEN EXISTS (
            SELECT FROM pg_constraint x WHERE x.conrelid = t.oid AND x.contype = 'f' AND x.conname = %(name)s)
        WHEN 'trigger' THEN EXISTS (
            SELECT FROM pg_trigger g WHERE g.tgrelid = t.oid AND NOT g.tgisinternal AND g.tgname = %(name)s)
        WHEN 'index' THEN EXISTS (
            SELECT FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
            WHERE x.indrelid = t.oid AND c.relname = %(name)s) END)

-- enter: what is about to be dropped; while it is pending, what was seen first stays
INSERT INTO crossfade.restore (migration_id, kind, schema, table_name, name, definition)
VALUES (%(migration)s, %(kind)s, %(schema)s, %(table)s, %(name)s, %(definition)s)
ON CONFLICT (migration_id, kind, schema, table_name, name) DO UPDATE
SET definition = excluded.definition, dropped_at = excluded.dropped_at, restored_at = NULL
WHERE restore.restored_at IS NOT NULL

-- pending: what was dropped and is not restored, in the order in which it must be made
SELECT id, kind, schema, table_name AS table, name, definition FROM crossfade.restore
WHERE migration_id = %(migration)s AND restored_at IS NULL AND (%(kind)s::text IS NULL OR kind = %(kind)s)
ORDER BY array_position(ARRAY['index', 'foreign key', 'trigger', 'not null'], kind), id
