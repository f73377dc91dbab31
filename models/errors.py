"""Errors whose message users read, at the node or on the command line."""


class WeGenError(ValueError):
    """Something the user can put right; the message names the value, the limit and the way out."""


class AnsweredInWords(WeGenError):
    """The model answered a wish or an order in words and draws nothing; the message is what it said."""


class CheckpointError(WeGenError):
    """A checkpoint folder or file that cannot be used as it is; the message names the file and the key."""
