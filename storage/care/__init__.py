"""Care: verify a store, repair it, measure what it keeps, match it with a corpus."""
