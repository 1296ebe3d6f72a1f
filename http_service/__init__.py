"""What the Flask services share: settings, logs, request ids, problems and bounded bodies."""
