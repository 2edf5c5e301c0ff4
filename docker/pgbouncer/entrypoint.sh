#!/usr/bin/env bash
# Starts PgBouncer with the logins that the environment holds. It needs passwords, not verifiers: it logs in with them.
set -euo pipefail

login() {
    printf '"%s" "%s"\n' "$1" "${2//\"/\"\"}"
}

umask 077
{
    login pooler_admin "$POOLER_ADMIN_PASSWORD"
    login shop_app "$SHOP_APP_PASSWORD"
    login shop_bi "$SHOP_BI_PASSWORD"
    login shop_owner "$SHOP_OWNER_PASSWORD"
} > /run/pgbouncer/userlist.txt
exec pgbouncer /etc/pgbouncer/pgbouncer.ini
