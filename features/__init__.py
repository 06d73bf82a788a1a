"""The data contract, and the features computed from it: the same code for training and serving."""
