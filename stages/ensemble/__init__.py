"""ensemble: corpus -> members: acoustic models trained on hard labels, or elsewhere."""
