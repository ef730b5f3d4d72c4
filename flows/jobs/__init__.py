"""Bulk jobs: the job file, its images, the Prefect flow that restores them, and its schedule."""
