"""The cases, one file for each rung."""
