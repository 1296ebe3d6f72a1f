"""The read side of an MLflow registry."""
