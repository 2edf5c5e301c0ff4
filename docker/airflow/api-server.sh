#!/usr/bin/env bash
# Starts the API server with the passwords of OPERATOR_PASSWORD and VIEWER_PASSWORD, which stay in this container.
set -euo pipefail

umask 077
python - > "$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE" << 'END'
import json, os

print(json.dumps({user: os.environ[f"{user.upper()}_PASSWORD"] for user in ("operator", "viewer")}))
END
exec airflow api-server
