"""The page that shows the model's card."""
