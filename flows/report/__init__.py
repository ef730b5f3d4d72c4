"""What users see of a run: progress, reports, and numbers as text."""
