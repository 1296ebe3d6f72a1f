"""The measures, one per module."""
