"""The Prefect server that a command starts or uses, and Prefect's settings."""
