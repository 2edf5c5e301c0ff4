-- objects: for entries of an archive, the identity of each object that still exists, and the table it belongs to
SELECT e.dump_id, i.identity, c.conname AS name, b.identity AS table, t.oid AS table_oid,
       NULLIF(c.confrelid, 0) AS references,
       COALESCE(c.convalidated, true) AS validated, COALESCE(r.relispopulated, true) AS populated
FROM unnest(%(ids)s::int[], %(catalogs)s::oid[], %(oids)s::oid[]) AS e(dump_id, catalog, oid)
CROSS JOIN LATERAL pg_identify_object(e.catalog, e.oid, 0) AS i
LEFT JOIN pg_class r ON e.catalog = 'pg_class'::regclass AND r.oid = e.oid
LEFT JOIN pg_index x ON e.catalog = 'pg_class'::regclass AND x.indexrelid = e.oid
LEFT JOIN pg_constraint c ON e.catalog = 'pg_constraint'::regclass AND c.oid = e.oid
LEFT JOIN pg_trigger g ON e.catalog = 'pg_trigger'::regclass AND g.oid = e.oid
LEFT JOIN pg_class t ON t.oid = COALESCE(x.indrelid, NULLIF(c.conrelid, 0), g.tgrelid)
LEFT JOIN LATERAL pg_identify_object('pg_class'::regclass, t.oid, 0) AS b ON t.oid IS NOT NULL
WHERE i.identity IS NOT NULL
