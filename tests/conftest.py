"""What all tests share."""

from hypothesis import settings

# The machine may be busy: a timing never decides a test. Derandomised, so that a failure repeats.
settings.register_profile("glassplate", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("glassplate")
