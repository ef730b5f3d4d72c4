"""Many images: a job, its flow and its schedule."""
