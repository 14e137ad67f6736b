"""The student's loss: hard labels and soft targets of N frames -> loss and gradient of the logits.

    definition      inputs, result, and the dense definition that every other file is tested against
    targets         soft targets + hard labels -> sparse targets of K + 1 classes
    frame_weights   frame weights -> weighted means over the batch
    softmax_block   the softmax of a block of frames, and what a cross-entropy needs of it
    gradient_term   one cross-entropy's closed-form gradient, from the softmax and a sparse target
    frame_losses    loss and gradient of every frame, in blocks on a CPU, by the kernel on a GPU
    fused           essence_loss: logits -> loss, with the gradient computed in the forward pass
    chunked         essence_linear_loss: output layer and loss together, never all logits at once
    triton_kernel   the same as frame_losses, one Triton program for each frame

The room does not depend on stores, corpora or the trainer: it takes and returns tensors.
"""
