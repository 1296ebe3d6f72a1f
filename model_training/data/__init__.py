"""Tables for training: loaders, checks and the split."""
