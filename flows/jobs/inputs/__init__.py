"""The inputs of a job: files, folders, patterns, lists, and what rules and names need to know of them."""
