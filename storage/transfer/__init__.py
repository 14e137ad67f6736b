"""transfer: copies of stores between machines, whole or in part, each object verified."""
