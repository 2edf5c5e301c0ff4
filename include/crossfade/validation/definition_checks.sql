-- invalid_indexes: indexes of users that are not used, or not kept up; and what makes each of them anew
SELECT i.identity, CASE WHEN c.relkind = 'I' THEN 'attach an index of every partition'
                        ELSE 'REINDEX INDEX CONCURRENTLY ' || i.identity END AS remedy
FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_identify_object('pg_class'::regclass, c.oid, 0) AS i
WHERE NOT (x.indisvalid AND x.indisready AND x.indislive)
  AND n.nspname NOT IN ('information_schema', 'crossfade') AND n.nspname !~ '^pg_'

-- not_validated: constraints of users that hold for new rows only; and what validates each of them
SELECT i.identity, format(CASE WHEN x.contypid = 0 THEN 'ALTER TABLE %%s VALIDATE CONSTRAINT %%I'
                               ELSE 'ALTER DOMAIN %%s VALIDATE CONSTRAINT %%I' END,
                          COALESCE(r.identity, t.identity), x.conname) AS remedy
FROM pg_constraint x JOIN pg_namespace n ON n.oid = x.connamespace
CROSS JOIN LATERAL pg_identify_object('pg_constraint'::regclass, x.oid, 0) AS i
LEFT JOIN LATERAL pg_identify_object('pg_class'::regclass, NULLIF(x.conrelid, 0), 0) AS r ON true
LEFT JOIN LATERAL pg_identify_object('pg_type'::regclass, NULLIF(x.contypid, 0), 0) AS t ON true
WHERE NOT x.convalidated AND n.nspname NOT IN ('information_schema', 'crossfade') AND n.nspname !~ '^pg_'

-- roles: the attributes of given roles, as `schema.roles.Role` has them
SELECT rolname AS name, rolcanlogin AS login, rolinherit AS inherit, rolcreatedb AS createdb, rolcreaterole AS createrole,
       rolreplication AS replication, rolbypassrls AS bypassrls, rolconnlimit AS connection_limit,
       rolvaliduntil::text AS valid_until, false AS owns, NULL AS comment
FROM pg_roles WHERE rolname = ANY(%(names)s)

-- role_names: every role of the server
SELECT rolname AS name FROM pg_roles

-- memberships: the groups that given roles were made members of
SELECT u.rolname AS member, g.rolname AS "group" FROM pg_auth_members m
JOIN pg_roles u ON u.oid = m.member JOIN pg_roles g ON g.oid = m.roleid WHERE u.rolname = ANY(%(names)s)
