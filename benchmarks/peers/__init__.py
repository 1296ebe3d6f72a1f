"""Other servers of the same model, each as its own users would set it up; they import nothing of this project."""
