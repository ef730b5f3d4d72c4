"""The account of a job: what became of each of its images, kept beside the results."""
