"""Commands that work on artifacts: store and signing."""
