"""statistics: what a difference between systems is worth."""
