"""The engine that carries rows with AWS DMS: what a replication task is told, and what it must be told about LOBs."""
