"""The engine `logical`: PostgreSQL's own logical replication, in waves of tables that are copied and streamed alone."""
