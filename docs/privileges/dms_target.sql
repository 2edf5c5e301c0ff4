-- Least privilege for the role that AWS DMS logs in as on the TARGET. Run by an administrator, before the migration:
--   psql -v role=shop_dms -v password=… -f dms_target.sql
-- The role must be DMS's alone, since the cutover locks it out: not the migration's, not an application's, no superuser.
-- No : ; + % in the password: DMS cannot read them. Where DMS's role on the source has the same name, run this before the
-- first migration: it would otherwise carry that role, REPLICATION included.
CREATE ROLE :"role" LOGIN PASSWORD :'password';
-- Rows arrive as a replica's: no trigger fires, no foreign key is checked. From PostgreSQL 15 on; before, only a superuser
-- (on RDS and Aurora: rds_superuser) may set it.
GRANT SET ON PARAMETER session_replication_role TO :"role";
-- Its tables are not there yet. What they take is granted by Crossfade once they are, and taken back at the end: CONNECT
-- on the fenced database, SELECT, INSERT, UPDATE, DELETE and TRUNCATE on what moves, and schema crossfade for the control
-- tables of DMS.
