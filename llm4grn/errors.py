"""The one kind of error a user is meant to read."""


class UserError(ValueError):
    """A mistake in a configuration or a data file that the user can repair.

    The scripts print it as one line, without a traceback, so the message names what is wrong, where (file, field)
    and what to do about it. Anything else that is raised is a bug and keeps its traceback.
    """
