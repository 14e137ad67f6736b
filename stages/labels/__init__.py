"""labels: members and corpus -> hard labels of train: best paths of the ensemble."""
