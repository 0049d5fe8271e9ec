"""The exception for mistakes that a user can repair."""


class UserError(ValueError):
    """A mistake in a configuration or a data file that the user can repair.

    The scripts print its message as one line without a traceback, so the message says what is wrong, where (file,
    field) and how to repair it. Any other exception is a bug and keeps its traceback.
    """
