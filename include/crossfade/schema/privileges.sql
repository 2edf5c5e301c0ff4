-- privileges: owners and grants of schemas, relations, columns, functions, types, servers and the database
WITH administrators AS (  -- who cannot be carried: superusers, the migration's own role, the provider's
    SELECT oid FROM pg_roles WHERE rolsuper OR rolname = current_user OR rolname = ANY(%(carriers)s::text[])
       OR rolname ~ '^(rds_|rdsadmin|rdsrepladmin|rdsproxy|rdstopmgr|rdswriteforward|aws_|azure_|azuresu|cloudsql)'
), objects AS (
    SELECT 'pg_namespace'::regclass AS class, oid, 0 AS sub, nspowner AS owner, nspacl AS acl, 'n'::"char" AS kind
    FROM pg_namespace WHERE oid = ANY(%(spaces)s)
    UNION ALL
    SELECT 'pg_class'::regclass, oid, 0, relowner, relacl, CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END
    FROM pg_class WHERE oid = ANY(%(relations)s) AND relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
    UNION ALL
    SELECT 'pg_class'::regclass, a.attrelid, a.attnum, c.relowner, a.attacl, 'c'
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE a.attrelid = ANY(%(relations)s) AND a.attacl IS NOT NULL AND NOT a.attisdropped
    UNION ALL
    SELECT 'pg_proc'::regclass, oid, 0, proowner, proacl, 'f' FROM pg_proc WHERE pronamespace = ANY(%(spaces)s)
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid, 0, t.typowner, t.typacl, 'T'
    FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE t.typnamespace = ANY(%(spaces)s) AND t.typtype IN ('e', 'd', 'r', 'c', 'b') AND t.typcategory <> 'A'
      AND (c.oid IS NULL OR c.relkind = 'c')
    UNION ALL
    SELECT 'pg_foreign_server'::regclass, oid, 0, srvowner, srvacl, 'S' FROM pg_foreign_server
    UNION ALL
    SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, fdwowner, fdwacl, 'F' FROM pg_foreign_data_wrapper
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, oid, 0, stxowner, NULL, NULL FROM pg_statistic_ext WHERE stxrelid = ANY(%(relations)s)
    UNION ALL
    SELECT 'pg_collation'::regclass, oid, 0, collowner, NULL, NULL FROM pg_collation WHERE collnamespace = ANY(%(spaces)s)
    UNION ALL
    SELECT 'pg_operator'::regclass, oid, 0, oprowner, NULL, NULL FROM pg_operator WHERE oprnamespace = ANY(%(spaces)s)
    UNION ALL
    SELECT 'pg_database'::regclass, oid, 0, datdba, datacl, 'd' FROM pg_database WHERE datname = current_database()
), named AS (
    SELECT o.*, CASE o.kind WHEN 'd' THEN 'database' ELSE i.type || ' ' || i.identity END AS identity
    FROM objects o CROSS JOIN LATERAL pg_identify_object(o.class, o.oid, o.sub) AS i
    WHERE o.oid <> ALL(%(members)s)
), exploded AS (
    SELECT DISTINCT n.identity, CASE WHEN a.grantee = n.owner THEN '(owner)' ELSE COALESCE(r.rolname::text, 'PUBLIC') END AS grantee,
           a.privilege_type AS privilege, a.is_grantable AND a.grantee <> n.owner AS grantable
    FROM named n
    CROSS JOIN LATERAL aclexplode(COALESCE(n.acl, acldefault(n.kind, n.owner))) AS a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE n.kind IS NOT NULL
      AND (a.grantee = n.owner OR a.grantee NOT IN (SELECT oid FROM administrators))
      AND NOT (n.kind = 'd' AND a.privilege_type = 'CONNECT')  -- the fence changes it
), counted AS (  -- GRANT ALL on 16 is GRANT ALL on 18, where it means MAINTAIN too
    SELECT *, count(*) FILTER (WHERE privilege <> 'MAINTAIN') OVER (PARTITION BY identity, grantee) AS others FROM exploded
), granted AS (
    SELECT identity, grantee || '=' || string_agg(privilege || CASE WHEN grantable THEN '*' ELSE '' END, ','
                                                  ORDER BY privilege, grantable) AS given
    FROM counted WHERE NOT (privilege = 'MAINTAIN' AND (others = 7 OR grantee = '(owner)')) GROUP BY identity, grantee
)
SELECT 'owner' AS kind, n.identity,
       -- a database, or a schema public, that belongs to an administrator stays so
       CASE WHEN (n.kind = 'd' OR n.identity = 'schema public')
                 AND (n.owner IN (SELECT oid FROM administrators) OR r.rolname = 'pg_database_owner')
            THEN '(administrator)' ELSE r.rolname::text END AS definition
FROM named n JOIN pg_roles r ON r.oid = n.owner WHERE n.sub = 0
UNION ALL
SELECT 'grants', identity, string_agg(given, ' ' ORDER BY given) FROM granted GROUP BY identity

-- default_privileges: what ALTER DEFAULT PRIVILEGES left, by role, schema and kind of object
WITH exploded AS (
    SELECT DISTINCT o.rolname AS owner, n.nspname AS space, d.defaclobjtype AS type,
           CASE WHEN a.grantee = d.defaclrole THEN '(owner)' ELSE COALESCE(r.rolname::text, 'PUBLIC') END AS grantee,
           a.privilege_type AS privilege, a.is_grantable AND a.grantee <> d.defaclrole AS grantable
    FROM pg_default_acl d JOIN pg_roles o ON o.oid = d.defaclrole
    LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
    CROSS JOIN LATERAL aclexplode(d.defaclacl) AS a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE NOT o.rolsuper AND o.rolname <> current_user AND n.nspname IS DISTINCT FROM 'crossfade'
      AND (a.grantee = 0 OR (NOT r.rolsuper AND r.rolname <> current_user))
), counted AS (
    SELECT *, count(*) FILTER (WHERE privilege <> 'MAINTAIN') OVER (PARTITION BY owner, space, type, grantee) AS others
    FROM exploded
), granted AS (
    SELECT owner, space, type, grantee || '=' || string_agg(privilege || CASE WHEN grantable THEN '*' ELSE '' END, ','
                                                            ORDER BY privilege, grantable) AS given
    FROM counted WHERE NOT (privilege = 'MAINTAIN' AND (others = 7 OR grantee = '(owner)')) GROUP BY 1, 2, 3, grantee
)
SELECT 'default privileges' AS kind,
       concat_ws(' ', 'of', quote_ident(owner), 'in ' || quote_ident(space), 'on',
                 CASE type WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types'
                           WHEN 'n' THEN 'schemas' ELSE type::text END) AS identity,
       string_agg(given, ' ' ORDER BY given) AS definition
FROM granted GROUP BY owner, space, type

-- settings: encoding and settings of the database, and settings of roles in this database alone
SELECT CASE s.setrole WHEN 0 THEN 'database setting' ELSE 'role setting' END AS kind,
       concat_ws(' ', quote_ident(r.rolname), split_part(c.entry, '=', 1)) AS identity,
       substr(c.entry, strpos(c.entry, '=') + 1) AS definition
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase AND d.datname = current_database()
LEFT JOIN pg_roles r ON r.oid = s.setrole
CROSS JOIN LATERAL unnest(s.setconfig) AS c(entry)
WHERE s.setrole = 0 OR (NOT r.rolsuper AND r.rolname <> current_user)
UNION ALL
SELECT 'database setting', 'encoding', pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()
UNION ALL
SELECT 'database setting', 'connection limit', datconnlimit::text FROM pg_database WHERE datname = current_database()
