"""Forward operators A: how a measurement comes from the estimate."""
