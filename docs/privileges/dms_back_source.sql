-- Least privilege for rollback.way_back: dms, on the SOURCE: the role that AWS DMS logs in as to bring rows back, and
-- what the role of the migration needs for that. Run by an administrator, in the database to be moved:
--   psql -v role=shop_dms_back -v password=… -v database=shop -v migration=crossfade -f dms_back_source.sql
-- The role must be DMS's alone, since a rollback locks it out: not the migration's, not an application's, no superuser. It
-- may be DMS's role of docs/privileges/dms_source.sql, unless that may write; then only the grants below are needed.
-- On the TARGET, DMS reads as the role of docs/privileges/dms_source.sql, run there with -v role=shop_dms_back.
CREATE ROLE :"role" LOGIN PASSWORD :'password';
GRANT CONNECT ON DATABASE :"database" TO :"role";
-- Rows come back as a replica's: no trigger fires, no foreign key is checked. From PostgreSQL 15 on; before, only a superuser
-- (on RDS and Aurora: rds_superuser) may set it.
GRANT SET ON PARAMETER session_replication_role TO :"role";
-- The group through which DMS may write, while it is to: made when the way back is armed, gone at the end.
ALTER ROLE :"migration" CREATEROLE;
