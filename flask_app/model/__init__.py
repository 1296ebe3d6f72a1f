"""The model that serves: loading, following the registry, predicting."""
