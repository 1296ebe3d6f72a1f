"""Where versions are registered and promoted: the store alone, or MLflow."""
