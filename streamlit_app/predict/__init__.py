"""The page that predicts one row."""
