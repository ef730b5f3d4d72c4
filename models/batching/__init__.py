"""Many windows on one device: a queue, fits side by side in slots, and the networks of these together."""
