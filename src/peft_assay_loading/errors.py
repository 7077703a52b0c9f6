"""What loading an adapter from bytes can refuse."""


class LoadingError(ValueError):
    """The adapter does not fit, or asks for what loading from bytes never does; the model is as it was before."""
