"""The errors that a user is meant to see, one line each."""


class UserError(Exception):
    """Bad input: one line that names the thing and the mend.

    The command line prints it to stderr and leaves with status 2. Raise it before anything is written.
    """


class Terminated(Exception):
    """The work was ended by SIGTERM, and all that is needed to go on is saved.

    The command line prints its one line to stderr and leaves with status 143, as a shell reports that signal.
    """
