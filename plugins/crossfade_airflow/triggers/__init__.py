"""What waits in the triggerer. Triggers only read: Airflow may run one twice."""
