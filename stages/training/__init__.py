"""Training: batches, steps, checkpoints, ranks. It does not depend on any stage."""
