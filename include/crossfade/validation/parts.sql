-- orderings: of a table's key columns, in order: what decides how the server sorts them, and whether rows lie in that order
SELECT a.attname AS name,
       CASE WHEN a.attcollation = 0 THEN '' -- no collation: all servers sort the same
            WHEN c.collname IN ('C', 'POSIX', 'ucs_basic') OR (c.collprovider = 'd' AND d.datcollate IN ('C', 'POSIX'))
                THEN 'C'
            WHEN c.collprovider = 'd'
                THEN concat_ws(' ', d.datlocprovider, d.datcollate, to_jsonb(d) ->> 'daticulocale',
                               to_jsonb(d) ->> 'datlocale', pg_database_collation_actual_version(d.oid))
            ELSE concat_ws(' ', c.collprovider, c.collcollate, to_jsonb(c) ->> 'colliculocale',
                           to_jsonb(c) ->> 'colllocale', pg_collation_actual_version(c.oid))
       END AS ordering,
       (SELECT abs(s.correlation) FROM pg_stats s
        WHERE s.schemaname = n.nspname AND s.tablename = r.relname AND s.attname = a.attname) AS correlation
FROM pg_class r
JOIN pg_namespace n ON n.oid = r.relnamespace
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attname = ANY(%(key)s)
LEFT JOIN pg_collation c ON c.oid = a.attcollation
JOIN pg_database d ON d.datname = current_database()
WHERE n.nspname = %(schema)s AND r.relname = %(name)s
ORDER BY array_position(%(key)s, a.attname::text)
