-- may_connect: who may connect to this database, as {"role", "grantable"}; role "" is PUBLIC
SELECT COALESCE(jsonb_agg(jsonb_build_object('role', CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END,
                                             'grantable', a.is_grantable) ORDER BY a.grantee), '[]') AS may_connect
FROM pg_database d, aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) AS a
WHERE d.datname = current_database() AND a.privilege_type = 'CONNECT'

-- remember: keeps the first value seen, so that a second fence does not overwrite what the first one found
INSERT INTO crossfade.fence (database, plan, may_connect) VALUES (current_database(), %(plan)s, %(may_connect)s)
ON CONFLICT (database) DO NOTHING

-- still_welcome: roles that could log in to this database all the same
SELECT r.rolname AS role FROM pg_roles r
WHERE r.rolcanlogin AND NOT r.rolsuper AND r.rolname <> ALL(%(exempt)s)
  AND has_database_privilege(r.oid, current_database(), 'CONNECT')

-- strangers: client sessions in this database of roles that are not exempt
SELECT pid, usename AS role, application_name, client_addr::text AS address, state
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND usename <> ALL(%(exempt)s)

-- sessions_of: client sessions of one role in this database
SELECT pid, usename AS role, application_name FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND usename = %(role)s

-- half_logged_in: processes with locks in this database that pg_stat_activity does not show yet
SELECT DISTINCT l.pid FROM pg_locks l
WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.pid IS NOT NULL
  AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid AND (a.datid IS NOT NULL OR a.backend_type <> 'client backend'))

-- exempt: roles that must stay able to connect: our own, those of replication, and owners of subscriptions
SELECT DISTINCT rolname AS role FROM pg_roles
WHERE rolname = current_user OR (rolreplication AND NOT rolsuper)
   OR rolname IN ('rdsadmin', 'cloudsqladmin', 'azuresu')  -- the provider's own, which nobody else may end
   OR oid IN (SELECT subowner FROM pg_subscription)

-- keep: enter in the ledger that this role may connect when the fence is lifted
UPDATE crossfade.fence SET may_connect = may_connect || jsonb_build_object('role', %(role)s::text, 'grantable', false)
WHERE database = current_database()
  AND NOT EXISTS (SELECT FROM jsonb_array_elements(may_connect) e WHERE e ->> 'role' IN (%(role)s::text, ''))
