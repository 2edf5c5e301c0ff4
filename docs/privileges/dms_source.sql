-- Least privilege for the role that AWS DMS logs in as on the SOURCE. Run by an administrator, in the database to be moved:
--   psql -v role=shop_dms -v password=… -v database=shop -f dms_source.sql
-- No : ; + % in the password: DMS cannot read them. Reading everything takes PostgreSQL 14; before, GRANT USAGE on every
-- schema and SELECT on every table of the plan, and on schema crossfade, which Crossfade makes.
CREATE ROLE :"role" LOGIN REPLICATION PASSWORD :'password';        -- on RDS and Aurora: without REPLICATION, and
-- GRANT rds_replication TO :"role";
GRANT CONNECT ON DATABASE :"database" TO :"role";
GRANT pg_read_all_data TO :"role";
