#!/usr/bin/env bash
# Writes .env from .env.example with random secrets; an existing .env stays.
set -euo pipefail

cd "$(dirname "$0")/.."
if [ -e .env ]; then
    echo ".env exists and stays as it is" >&2
    exit 0
fi
umask 077
while IFS= read -r line; do
    case $line in
        FERNET_KEY=) line+=$(head -c 32 /dev/urandom | base64 | tr '+/' '-_') ;; # Fernet's form, with its padding
        *=) line+=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n') ;;
    esac
    printf '%s\n' "$line"
done < .env.example > .env
echo "Wrote .env. Log in to Airflow as operator with: $(grep ^OPERATOR_PASSWORD= .env)"
