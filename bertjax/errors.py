"""The one exception that means: the user's input is at fault."""


class UserError(Exception):
    """Bad input from the user: one line that says what is wrong, where, and what to do.

    The command line prints the message without a traceback and exits with status 2. Everything
    else that is raised is a bug and keeps its traceback.
    """
