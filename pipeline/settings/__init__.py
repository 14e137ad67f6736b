"""Settings: pipeline.yaml and --set -> one checked, frozen tree."""
