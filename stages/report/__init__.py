"""report: all results -> one page that opens anywhere."""
