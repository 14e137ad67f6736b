"""student: soft labels and hard labels -> one small model."""
