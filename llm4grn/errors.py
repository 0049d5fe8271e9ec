"""The exceptions for what a user can repair."""


class UserError(ValueError):
    """A mistake in a configuration or a data file that the user can repair.

    The scripts print its message as one line without a traceback, so the message says what is wrong, where (file,
    field) and how to repair it. Any other exception is a bug and keeps its traceback.
    """


class WriteError(UserError):
    """A file that could not be written: the disk is full, a limit is reached, or the folder is gone.

    The scripts end with status 1 and not 2, because the command itself is right and can be given again.
    """
