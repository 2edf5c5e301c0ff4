-- keys: the primary keys of given tables
SELECT x.conrelid AS oid, x.conname AS name, x.condeferrable AS deferrable,
       array_agg(a.attname::text ORDER BY k.place) AS columns
FROM pg_constraint x CROSS JOIN LATERAL unnest(x.conkey) WITH ORDINALITY AS k (number, place)
JOIN pg_attribute a ON a.attrelid = x.conrelid AND a.attnum = k.number
WHERE x.contype = 'p' AND x.conrelid = ANY(%(oids)s)
GROUP BY x.oid, x.conrelid, x.conname, x.condeferrable

-- parents: given tables from which others inherit, partitions aside
SELECT i.inhparent AS oid, string_agg(i.inhrelid::regclass::text, ', ' ORDER BY i.inhrelid) AS children
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = ANY(%(oids)s) AND NOT c.relispartition
GROUP BY i.inhparent ORDER BY array_position(%(oids)s, i.inhparent)

-- unique_expressions: unique indexes of given tables on expressions
SELECT i.indrelid AS oid, c.relname AS name, format('%%I.%%I', n.nspname, c.relname) AS identifier,
       pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indrelid = ANY(%(oids)s) AND i.indisunique AND i.indexprs IS NOT NULL
ORDER BY array_position(%(oids)s, i.indrelid), c.relname

-- cascading: given tables whose key is referenced ON UPDATE CASCADE
SELECT x.confrelid AS oid, string_agg(format('%%s (%%s)', x.conname, x.conrelid::regclass), ', ' ORDER BY x.conname) AS constraints
FROM pg_constraint x
WHERE x.contype = 'f' AND x.confupdtype = 'c' AND x.confrelid = ANY(%(oids)s)
GROUP BY x.confrelid ORDER BY array_position(%(oids)s, x.confrelid)

-- deferred: given tables with unique or exclusion constraints that may be checked at the end of a transaction
SELECT x.conrelid AS oid, string_agg(x.conname, ', ' ORDER BY x.conname) AS constraints
FROM pg_constraint x
WHERE x.contype IN ('u', 'x') AND x.condeferrable AND x.conrelid = ANY(%(oids)s)
GROUP BY x.conrelid ORDER BY array_position(%(oids)s, x.conrelid)
