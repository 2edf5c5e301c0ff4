-- drop_origins: removes the origins of copies that ended before they could tidy up
SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname ~ %(pattern)s
