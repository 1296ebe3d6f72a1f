"""The errors that this package raises; a message is one sentence for an operator, unless its class says otherwise."""


class ArtifactError(Exception):
    """An artifact is rejected, or the store has no such version."""


class SigningError(Exception):
    """A key or a signature cannot be used."""


class RegistryError(Exception):
    """The registry cannot do what it was asked to do."""


class RegistryNotFoundError(RegistryError):
    """The registry has no such model, version or file."""


class VersionRejected(RegistryError):
    """A version fails a check of the loader; the registry itself works."""


class NotTrainedError(RuntimeError):
    """A model was used before it was trained."""


class DecisionTableError(Exception):
    """A booster has no decision table, or none that equals it; the message is a clause that gives the reason."""


class BoosterError(Exception):
    """XGBoost reports an error; the message is the first line of its own."""
