"""Ground floor: soft-label store, corpus file, fingerprints, atomic publication. No torch."""
