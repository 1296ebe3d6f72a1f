"""Training jobs: the queue, the process of a job and its limits."""
