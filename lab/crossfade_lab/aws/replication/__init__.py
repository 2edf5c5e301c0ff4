"""The data plane of the local DMS: one worker process for each running replication task.

A worker reads and writes the files of its task directory and two PostgreSQL servers, nothing else. It keeps the habits
of AWS DMS, the lossy ones included; `docs/local-dms.md` tells which, and what is left out.
"""
