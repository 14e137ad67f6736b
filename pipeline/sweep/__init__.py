"""sweep: `essence sweep`: many students from one store, side by side, and one table."""
