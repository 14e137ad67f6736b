"""training: corpus -> model, towards any objective; stopped anywhere, it goes on bit for bit."""
