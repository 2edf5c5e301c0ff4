-- What the role of the local DMS needs on the source beyond docs/privileges/dms_source.sql: it captures changes with
-- pgoutput, whose publications only the owners of their tables can make. AWS's reads test_decoding and needs none of it.
-- Run as superuser, after both. psql variables: role, owner, migration (its role), database
GRANT CREATE ON DATABASE :"database" TO :"role";
GRANT :"owner", :"migration" TO :"role" WITH INHERIT TRUE, SET FALSE;
