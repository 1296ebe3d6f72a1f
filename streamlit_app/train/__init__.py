"""The page that trains models and chooses which one serves."""
