"""One run: the stages in their order, from the request to the result."""
