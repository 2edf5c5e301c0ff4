-- database: the current database's name, owner (whether he can be carried), comment and limit of connections
SELECT d.datname AS name, r.rolname AS owner,
       NOT r.rolsuper AND r.rolname <> current_user
         AND r.rolname !~ '^(pg_|rds_|rdsadmin|aws_|azure_|azuresu|cloudsql)' AS movable,
       shobj_description(d.oid, 'pg_database') AS comment, d.datconnlimit AS connection_limit
FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = current_database()

-- grants: who may do what with the current database, its owner included; role NULL is PUBLIC; not superusers or ourselves
SELECT r.rolname AS role, a.privilege_type AS privilege, bool_or(a.is_grantable) AS grantable,
       COALESCE(r.oid = d.datdba, false) AS owner
FROM pg_database d
CROSS JOIN LATERAL aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) AS a
LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE d.datname = current_database() AND (a.grantee = 0 OR (NOT r.rolsuper AND r.rolname <> current_user))
GROUP BY 1, 2, 4 ORDER BY 1 NULLS FIRST, 2

-- settings: what ALTER DATABASE … SET left
SELECT split_part(c.entry, '=', 1) AS name, substr(c.entry, strpos(c.entry, '=') + 1) AS value
FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) AS c(entry)
WHERE s.setrole = 0 AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1
