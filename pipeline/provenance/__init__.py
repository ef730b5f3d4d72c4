"""How a result came to be, and whether it is still what it was."""
