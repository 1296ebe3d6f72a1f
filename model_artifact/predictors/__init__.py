"""Predictors: what answers from a loaded model."""
