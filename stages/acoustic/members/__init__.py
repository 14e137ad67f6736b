"""Members of an ensemble: what gives posteriors, and how they are averaged."""
