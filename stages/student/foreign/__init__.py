"""Soft labels and the loss for other trainers: `essence.torch` lists what is public.

batch     the soft labels of a padded batch, as codes
source    utterance ids and lengths -> such a batch, from a store
match     are these the classes, frames and inputs that the store was made of?
dataset   any map-style dataset with soft labels, and its collate function
module    the loss as an nn.Module, over padded logits or over (hidden, layer)
"""
