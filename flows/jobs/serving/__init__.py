"""Serving a job: its runs begin by a schedule, or when images arrive."""
