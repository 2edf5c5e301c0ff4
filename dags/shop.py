"""The Airflow DAGs of the plan in include/migrations/shop.yaml."""

from crossfade_dags import migration

migration("shop.yaml")
