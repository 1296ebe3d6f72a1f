"""Data to model to artifact: the only code that knows data sets and estimators."""
