"""The one exception that is meant for the user."""


class UserError(ValueError):
    """A mistake the user can mend: one line with what is wrong, what was given and what to do.

    The command line prints the line and exits with 1; everything else that is raised is a defect of ours.
    """
