"""One run: the stages in their order, from request to result."""
