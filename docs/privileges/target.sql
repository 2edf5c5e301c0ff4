-- Least privilege for the migration role on the TARGET. Run by an administrator, in the empty database:
--   psql -v role=crossfade -v password=… -v database=shop -f target.sql
-- Before 16 only a superuser may subscribe: there the role becomes one.
SELECT current_setting('server_version_num')::int >= 160000 AS may_be_granted \gset
CREATE ROLE :"role" LOGIN REPLICATION CREATEROLE CREATEDB PASSWORD :'password';
GRANT pg_read_all_data, pg_monitor, pg_signal_backend TO :"role";
\if :may_be_granted
ALTER ROLE :"role" SET createrole_self_grant = 'set, inherit';     -- restores objects under their owners
GRANT pg_create_subscription TO :"role";
\else
ALTER ROLE :"role" SUPERUSER;
\endif
ALTER DATABASE :"database" OWNER TO :"role";                        -- CREATEDB: to give it to the source's owner
-- Copied rows are marked with a replication origin, so that a later way back never echoes them.
GRANT EXECUTE ON FUNCTION pg_replication_origin_create(text), pg_replication_origin_drop(text),
  pg_replication_origin_oid(text), pg_replication_origin_session_setup(text),
  pg_replication_origin_session_reset() TO :"role";
