"""One run of a job: which images have to be worked on, the work on each of them, and what became of it."""
