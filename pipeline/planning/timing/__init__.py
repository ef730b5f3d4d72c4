"""How long iterations, plans and shipped recipes take on this machine, from short trials."""
