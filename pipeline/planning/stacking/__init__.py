"""How many fits run together on one device, and in which way."""
