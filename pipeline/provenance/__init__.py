"""The record of a result: what it was made from, how, on which machine, and whether it is still intact."""
