"""The one error that a user is meant to see."""


class UserError(Exception):
    """Bad input: one line that names the thing and the mend.

    The command line prints it to stderr and leaves with status 2. Raise it before anything is written.
    """
