"""The Airflow DAGs of the plan in include/migrations/shop_dms.yaml."""

from crossfade_dags import migration

migration("shop_dms.yaml")
