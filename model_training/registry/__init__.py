"""The registry of versions: the store alone, or MLflow."""
