-- Least privilege for the migration role on the SOURCE. Run by an administrator, in the database to be moved:
--   psql -v role=crossfade -v password=… -v owner=shop_owner -v database=shop -f source.sql
-- Repeat "GRANT owner" for every role that owns tables of the plan.
CREATE ROLE :"role" LOGIN REPLICATION PASSWORD :'password';
GRANT pg_read_all_data, pg_monitor, pg_signal_backend TO :"role";  -- read, see and end sessions
GRANT :"owner" TO :"role";                         -- publish its tables; fence the database it owns
GRANT CREATE, CONNECT ON DATABASE :"database" TO :"role";          -- schema crossfade, publications
-- Optional, plain servers only: carries SCRAM verifiers, so that applications keep their passwords.
GRANT SELECT ON pg_catalog.pg_authid TO :"role";
-- For a way back, which is the default: the source then subscribes to the target. Before 16 only a superuser may, so that
-- the migration role has to be one (on RDS: GRANT rds_superuser).
SELECT current_setting('server_version_num')::int >= 160000 AS may_be_granted \gset
\if :may_be_granted
GRANT pg_create_subscription TO :"role";
\endif
-- For a way back with smoke statements, which run as the application's role: -v application=…
\if :{?application}
GRANT :"application" TO :"role";
\endif
