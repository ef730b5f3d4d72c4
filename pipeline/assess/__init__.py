"""Assessment of a result: by itself, with artificial sources, or beside a reference."""
