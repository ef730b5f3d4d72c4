"""Many images: Prefect flows, schedules and the command line."""
