"""evaluate: a system -> frame error, cross-entropy, word error rate."""
