"""statistics: intervals and significance of differences between systems."""
