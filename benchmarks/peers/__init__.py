"""Other servers of the same model, as their users would configure them; they import nothing of this project."""
