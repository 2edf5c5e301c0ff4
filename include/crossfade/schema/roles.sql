-- read: the roles that matter to this database, with attributes; never superusers, the provider's, the system's or ourselves
WITH RECURSIVE here AS (
    SELECT oid, datdba FROM pg_database WHERE datname = current_database()
), movable AS (
    SELECT oid FROM pg_roles
    WHERE NOT rolsuper AND rolname <> current_user AND rolname !~ '^pg_'
      AND (rolname = ANY(%(application_roles)s)
           OR rolname !~ '^(rds_|rdsadmin|rdsrepladmin|rdsproxy|rdstopmgr|rdswriteforward|aws_|azure_|azuresu|cloudsql)')
), named AS (
    SELECT d.refobjid AS oid, bool_or(d.deptype = 'o') AS owns FROM pg_shdepend d, here
    WHERE d.refclassid = 'pg_authid'::regclass
      AND (d.dbid = here.oid OR (d.classid = 'pg_database'::regclass AND d.objid = here.oid))
    GROUP BY d.refobjid
    UNION ALL SELECT datdba, true FROM here
    UNION ALL SELECT s.setrole, false FROM pg_db_role_setting s JOIN here ON here.oid = s.setdatabase
    UNION ALL SELECT r.oid, false FROM pg_roles r WHERE r.rolname = ANY(%(application_roles)s)
), members AS (  -- who reaches the database only through a group
    SELECT oid FROM named JOIN movable USING (oid)
    UNION
    SELECT m.member FROM members g JOIN pg_auth_members m ON m.roleid = g.oid JOIN movable ON movable.oid = m.member
), closure AS (  -- and the groups that all of them belong to
    SELECT oid FROM members
    UNION
    SELECT m.roleid FROM closure c JOIN pg_auth_members m ON m.member = c.oid JOIN movable ON movable.oid = m.roleid
)
SELECT r.rolname AS name, r.rolcanlogin AS login, r.rolinherit AS inherit, r.rolcreatedb AS createdb,
       r.rolcreaterole AS createrole, r.rolreplication AS replication, r.rolbypassrls AS bypassrls,
       r.rolconnlimit AS connection_limit, r.rolvaliduntil::text AS valid_until,
       EXISTS (SELECT FROM named n WHERE n.oid = r.oid AND n.owns) AS owns,
       shobj_description(r.oid, 'pg_authid') AS comment
FROM closure JOIN pg_roles r USING (oid)
ORDER BY r.rolname

-- memberships: the groups of given roles; before 16 an option is what the member's INHERIT attribute says
SELECT u.rolname AS member, g.rolname AS "group", bool_or(m.admin_option) AS admin,
       bool_or(COALESCE((to_jsonb(m) ->> 'inherit_option')::boolean, u.rolinherit)) AS inherit,
       bool_or(COALESCE((to_jsonb(m) ->> 'set_option')::boolean, true)) AS set
FROM pg_auth_members m JOIN pg_roles u ON u.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
WHERE u.rolname = ANY(%(names)s)
GROUP BY 1, 2 ORDER BY 1, 2

-- settings: what ALTER ROLE … SET left for given roles, everywhere and in this database
SELECT r.rolname AS role, s.setdatabase <> 0 AS in_database,
       split_part(c.entry, '=', 1) AS name, substr(c.entry, strpos(c.entry, '=') + 1) AS value
FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole CROSS JOIN LATERAL unnest(s.setconfig) AS c(entry)
WHERE r.rolname = ANY(%(names)s)
  AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY 1, 2, 3

-- verifiers: password verifiers of given roles; needs SELECT on pg_authid
SELECT rolname AS name, rolpassword AS verifier FROM pg_authid WHERE rolname = ANY(%(names)s)

-- may_read_verifiers: whether the query above is ours to run
SELECT has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT')

-- attributes: the attributes of given roles, as they are now
SELECT rolname AS name, rolcanlogin AS login, rolinherit AS inherit, rolcreatedb AS createdb, rolcreaterole AS createrole,
       rolreplication AS replication, rolbypassrls AS bypassrls, rolconnlimit AS connection_limit,
       rolvaliduntil::text AS valid_until
FROM pg_roles WHERE rolname = ANY(%(names)s)

-- ours_to_give: attributes that the current role may give to others
SELECT rolsuper OR rolcreatedb AS createdb, rolsuper OR rolcreaterole AS createrole,
       rolsuper OR rolreplication AS replication, rolsuper OR rolbypassrls AS bypassrls
FROM pg_roles WHERE rolname = current_user

-- at_work_elsewhere: whether the current role owns or was granted something in another database of this server
SELECT EXISTS (SELECT FROM pg_shdepend
               WHERE refclassid = 'pg_authid'::regclass AND refobjid = current_user::regrole
                 AND dbid NOT IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))) AS elsewhere

-- self_given: roles of which the current role made itself a member
SELECT pg_get_userbyid(roleid) AS role FROM pg_auth_members
WHERE member = current_user::regrole AND grantor = current_user::regrole
ORDER BY 1
