"""Artificial sources put into the input of a result, restored again, and measured."""
