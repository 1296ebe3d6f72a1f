"""A trained model at rest: its card, pickle, signature, store, and what predicts from it."""
