-- there: a row where this database has a slot of that name
SELECT FROM pg_replication_slots WHERE slot_name = %(name)s AND database = current_database()

-- end_reader: ask the reader of a slot to end; a row where there was one
SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %(name)s AND active_pid IS NOT NULL
