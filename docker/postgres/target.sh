#!/usr/bin/env bash
# First start of the target: an empty database with the source's encoding and collation, and the migration's role.
set -euo pipefail

run() {
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres "$@"
}

run --dbname postgres --command "CREATE DATABASE shop ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"
run --dbname shop --set role=crossfade --set "password=$CROSSFADE_PASSWORD" --set database=shop \
    --file /sample/privileges/target.sql
