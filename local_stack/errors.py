"""What keeps the stack from starting."""

from pathlib import Path


class StartError(Exception):
    """The stack cannot start; the message is one sentence that names the cause and the remedy."""

    @classmethod
    def unwritable(cls, folder: Path, error: OSError) -> "StartError":
        """Return the error for a folder under RUN_DIR that cannot be written."""
        return cls(
            f"{folder} cannot be written ({error.strerror}); free some space or change its owner,"
            " or choose another folder: RUN_DIR=<folder> make run."
        )
