"""The Prefect server and its settings."""
