-- identity: which database of which server this is
SELECT (SELECT system_identifier FROM pg_control_system()) AS system, oid
FROM pg_database WHERE datname = current_database()

-- seen: a session of that name in this database
SELECT pid FROM pg_stat_activity WHERE application_name = %(name)s AND datname = current_database()

-- keep_password_out_of_log: for this transaction, where the role may; a failing statement would be logged otherwise
SELECT set_config(name, value, true)
FROM (VALUES ('log_statement', 'none'), ('log_min_error_statement', 'panic')) AS wanted(name, value)
WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND rolsuper)
