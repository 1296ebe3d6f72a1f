"""The page that shows whether the service is ready and how fast it answers."""
