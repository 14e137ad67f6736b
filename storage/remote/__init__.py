"""remote: sealed stores behind a URL, read and never written; what was fetched may be kept."""
