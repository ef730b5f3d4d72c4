"""One fit of a prior network to one window: its input, objective, loop, log and stopping rule."""
