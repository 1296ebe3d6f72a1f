"""Commands over artifacts: the store and signing."""
