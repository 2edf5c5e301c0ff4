#!/usr/bin/env bash
# First start of the source: the lab's sample shop with SHOP_ROWS rows, and the migration's role.
set -euo pipefail

rows=${SHOP_ROWS:-200000}

run() {
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 "$@"
}
as_owner() {
    PGPASSWORD=$SHOP_OWNER_PASSWORD run --username shop_owner --dbname shop "$@"
}

run --username postgres --dbname postgres --set "owner_password=$SHOP_OWNER_PASSWORD" \
    --set "app_password=$SHOP_APP_PASSWORD" --set "bi_password=$SHOP_BI_PASSWORD" --file /sample/shop/roles.sql
as_owner --file /sample/shop/schema.sql
as_owner --set customers=$((rows / 20)) --set orders=$((rows / 5)) --set payments=$((rows * 3 / 20)) \
    --set documents=$((rows * 3 / 100)) --set large_documents=$((rows / 50000 + 1)) --set events=$((rows * 12 / 100)) \
    --set archived=$((rows / 25)) --set prices=$((rows / 200)) --set invoices=$((rows / 200)) \
    --file /sample/shop/data.sql
as_owner --file /sample/shop/constraints.sql
run --username postgres --dbname shop --set role=crossfade --set "password=$CROSSFADE_PASSWORD" --set owner=shop_owner \
    --set database=shop --file /sample/privileges/source.sql
run --username postgres --dbname shop --command 'VACUUM (ANALYZE)'
