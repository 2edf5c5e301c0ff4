-- sequences: every sequence of users with its increment
SELECT i.identity, s.seqincrement AS increment FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_identify_object('pg_class'::regclass, c.oid, 0) AS i
WHERE n.nspname NOT IN ('information_schema', 'crossfade') AND n.nspname !~ '^pg_' AND c.relpersistence <> 't'
  AND c.oid <> ALL(%(left_out)s::oid[])
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
