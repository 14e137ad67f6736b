"""teacher: members and corpus -> soft labels: one pass, then never again."""
