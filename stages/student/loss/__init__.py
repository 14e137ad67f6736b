"""The student's loss: hard labels and soft targets of N frames -> loss, gradient of logits."""
