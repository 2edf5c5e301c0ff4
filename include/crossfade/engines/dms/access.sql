-- owners: who owns tables, given by schema and name, and who may grant on their schemas
SELECT n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner,
       CASE WHEN n.nspowner = 'pg_database_owner'::regrole  -- nobody is that role but the database's owner
            THEN (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database())
            ELSE pg_get_userbyid(n.nspowner) END AS schema_owner
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS wanted (schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')

-- writable: which of some tables a role may change
SELECT n.nspname || '.' || c.relname AS name
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS wanted (schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')
WHERE has_table_privilege(%(role)s, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
ORDER BY 1

-- granted_in_crossfade: relations of the schema crossfade that a group was granted anything on
SELECT DISTINCT c.relname AS name FROM pg_class c, aclexplode(c.relacl) AS a JOIN pg_roles r ON r.oid = a.grantee
WHERE c.relnamespace = 'crossfade'::regnamespace AND r.rolname = %(group)s

-- reader: whether a role may replicate, on RDS and Aurora by a membership; and which of some tables it may not read
SELECT COALESCE(bool_or(r.rolreplication OR r.rolsuper OR EXISTS (
           SELECT FROM pg_roles g WHERE g.rolname IN ('rds_replication', 'rds_superuser')
           AND pg_has_role(r.oid, g.oid, 'MEMBER'))), false) AS replicates,
       ARRAY(SELECT n.nspname || '.' || c.relname
             FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS wanted (schema, name)
             JOIN pg_namespace n ON n.nspname = wanted.schema
             JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')
             WHERE NOT (has_table_privilege(%(role)s, c.oid, 'SELECT') AND has_schema_privilege(%(role)s, n.oid, 'USAGE'))
             ORDER BY 1) AS unreadable
FROM pg_roles r WHERE r.rolname = %(role)s
