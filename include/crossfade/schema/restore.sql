-- creators_lacking: pairs of a schema that we may grant on and a role we can act for that may not create in it yet
SELECT n.nspname AS schema, r.rolname AS role
FROM pg_namespace n CROSS JOIN pg_roles r
WHERE n.nspname NOT IN ('information_schema', 'crossfade') AND n.nspname !~ '^pg_'
  AND r.rolname !~ '^pg_' AND NOT r.rolsuper AND r.rolname <> current_user AND pg_has_role(current_user, r.oid, 'MEMBER')
  AND NOT has_schema_privilege(r.oid, n.oid, 'CREATE')
  AND has_schema_privilege(current_user, n.oid, 'CREATE WITH GRANT OPTION')
  AND NOT (SELECT s.rolsuper FROM pg_roles s WHERE s.rolname = current_user)
ORDER BY 1, 2
