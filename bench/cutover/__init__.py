"""What clients feel of a cutover: the product beside a chain of Airflow tasks and a scripted runbook."""
