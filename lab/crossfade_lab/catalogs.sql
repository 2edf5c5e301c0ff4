-- namespaces: schemas
SELECT format('%s owner %s acl %s', nspname, nspowner::regrole, ARRAY(SELECT unnest(nspacl)::text ORDER BY 1)) AS line
FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'

-- relations: tables, indexes, views, sequences …
SELECT format('%s.%s kind %s owner %s acl %s options %s identity %s persistence %s rls %s %s partition %s',
              n.nspname, c.relname, c.relkind, c.relowner::regrole, ARRAY(SELECT unnest(c.relacl)::text ORDER BY 1),
              c.reloptions, c.relreplident, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity,
              pg_get_expr(c.relpartbound, c.oid)) AS line
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_(toast|temp)' AND (n.nspname NOT IN ('pg_catalog', 'information_schema') OR c.relacl IS NOT NULL)

-- columns: of everything that is no system catalog
SELECT format('%s.%s.%s %s not null %s default %s identity %s generated %s acl %s options %s statistics %s',
              n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
              pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated,
              ARRAY(SELECT unnest(a.attacl)::text ORDER BY 1), a.attoptions, a.attstattarget) AS line
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND n.nspname !~ '^pg_(toast|temp)'
  AND (n.nspname NOT IN ('pg_catalog', 'information_schema') OR a.attacl IS NOT NULL)

-- routines: functions, procedures and aggregates; the system's only where somebody was granted them
SELECT format('%s owner %s acl %s %s', p.oid::regprocedure, p.proowner::regrole,
              ARRAY(SELECT unnest(p.proacl)::text ORDER BY 1), md5(p.prosrc)) AS line
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') OR p.proacl IS NOT NULL

-- types: of users
SELECT format('%s kind %s owner %s acl %s', t.oid::regtype, t.typtype, t.typowner::regrole,
              ARRAY(SELECT unnest(t.typacl)::text ORDER BY 1)) AS line
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'

-- enums: values
SELECT format('%s %s', enumtypid::regtype, enumlabel) AS line FROM pg_enum

-- constraints: with their state
SELECT format('%s on %s%s: %s validated %s', c.conname, c.conrelid::regclass, c.contypid::regtype,
              pg_get_constraintdef(c.oid), c.convalidated) AS line
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')

-- indexes: with their state
SELECT format('%s valid %s ready %s primary %s identity %s clustered %s', pg_get_indexdef(i.indexrelid), i.indisvalid,
              i.indisready, i.indisprimary, i.indisreplident, i.indisclustered) AS line
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'

-- triggers: with their state
SELECT format('%s enabled %s', pg_get_triggerdef(oid), tgenabled) AS line FROM pg_trigger WHERE NOT tgisinternal

-- rules: views and rules
SELECT format('%s on %s enabled %s: %s', rulename, ev_class::regclass, ev_enabled, pg_get_ruledef(r.oid)) AS line
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')

-- policies: row level security
SELECT format('%s on %s %s %s %s %s', polname, polrelid::regclass, polcmd, polroles::regrole[],
              pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) AS line FROM pg_policy

-- sequences: parameters, not values
SELECT format('%s %s', s.seqrelid::regclass, to_jsonb(s) - 'seqrelid' - 'seqtypid') AS line FROM pg_sequence s

-- inheritance: and partitions
SELECT format('%s of %s', inhrelid::regclass, inhparent::regclass) AS line FROM pg_inherits

-- publications: and what they carry
SELECT format('%s owner %s %s', p.pubname, p.pubowner::regrole,
              ARRAY(SELECT r.prrelid::regclass::text FROM pg_publication_rel r WHERE r.prpubid = p.oid ORDER BY 1)) AS line
FROM pg_publication p

-- subscriptions: of any database of the server
SELECT format('%s in %s owner %s enabled %s', s.subname, d.datname, s.subowner::regrole, s.subenabled) AS line
FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid

-- slots: of the server
SELECT format('%s %s %s', slot_name, plugin, database) AS line FROM pg_replication_slots

-- origins: of the server
SELECT roname AS line FROM pg_replication_origin

-- event_triggers: of this database
SELECT format('%s %s %s', evtname, evtevent, evtenabled) AS line FROM pg_event_trigger

-- extensions: with their version
SELECT format('%s %s', extname, extversion) AS line FROM pg_extension

-- foreign_servers: of this database
SELECT format('%s owner %s', srvname, srvowner::regrole) AS line FROM pg_foreign_server

-- default_privileges: of this database
SELECT format('%s in %s for %s: %s', defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype,
              ARRAY(SELECT unnest(defaclacl)::text ORDER BY 1)) AS line FROM pg_default_acl

-- statistics: extended ones
SELECT format('%s on %s', stxname, stxrelid::regclass) AS line FROM pg_statistic_ext

-- large_objects: how many
SELECT format('%s', count(*)) AS line FROM pg_largeobject_metadata

-- comments: on anything of users
SELECT format('%s %s: %s', classoid::regclass, (pg_identify_object(classoid, objoid, objsubid)).identity, description) AS line
FROM pg_description WHERE objoid >= 16384

-- roles: attributes and comments; not passwords
SELECT format('%s %s %s', r.rolname, to_jsonb(r) - 'oid' - 'rolpassword' - 'rolname' - 'rolconfig',
              shobj_description(r.oid, 'pg_authid')) AS line
FROM pg_roles r

-- memberships: who belongs to whom, by whose grant
SELECT format('%s in %s by %s %s', member::regrole, roleid::regrole, grantor::regrole,
              to_jsonb(m) - 'oid' - 'roleid' - 'member' - 'grantor') AS line
FROM pg_auth_members m

-- settings: of databases and roles
SELECT format('%s in %s: %s', s.setrole::regrole, d.datname, s.setconfig) AS line
FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase

-- databases: their properties, and what is in force of their privileges, default or granted
SELECT format('%s owner %s limit %s connectable %s comment %s', d.datname, d.datdba::regrole, d.datconnlimit,
              d.datallowconn, shobj_description(d.oid, 'pg_database')) AS line
FROM pg_database d
UNION ALL
SELECT format('%s: %s to %s grantable %s', d.datname, a.privilege_type,
              CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END, a.is_grantable)
FROM pg_database d, aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) AS a
