-- columns: the columns of given tables with the type beneath their domains, without generated ones
WITH RECURSIVE base (oid, type, typmod) AS (
    SELECT oid, typbasetype, typtypmod FROM pg_type WHERE typtype = 'd'
    UNION ALL
    SELECT base.oid, t.typbasetype, CASE base.typmod WHEN -1 THEN t.typtypmod ELSE base.typmod END
    FROM base JOIN pg_type t ON t.oid = base.type AND t.typtype = 'd'
)
SELECT a.attrelid AS oid, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS declared, t.typname AS type,
       t.typtype AS kind, t.typcategory = 'A' AS array, coalesce(b.typmod, a.atttypmod) AS typmod, e.extname AS extension,
       t.typnamespace = 'pg_catalog'::regnamespace AS builtin, coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS default
FROM pg_attribute a
LEFT JOIN (base b JOIN pg_type u ON u.oid = b.type AND u.typtype <> 'd') ON b.oid = a.atttypid
JOIN pg_type t ON t.oid = coalesce(b.type, a.atttypid)
LEFT JOIN (pg_depend x JOIN pg_extension e ON x.refclassid = 'pg_extension'::regclass AND e.oid = x.refobjid)
       ON x.classid = 'pg_type'::regclass AND x.objid = t.oid AND x.deptype = 'e'
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ANY(%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY array_position(%(oids)s, a.attrelid), a.attnum
