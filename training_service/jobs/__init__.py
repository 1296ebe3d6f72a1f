"""Training jobs: their queue, their process and its limits."""
