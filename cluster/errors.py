"""What an operator is told: one line that says what was tried and what to do."""

from __future__ import annotations


class OperatorError(Exception):
    """Raised for anything an operator can put right; the command line prints it as one line, without a
    traceback."""


class ConfigError(OperatorError):
    """A configuration file cannot be believed."""


class NotFound(OperatorError):
    """No object of that name."""


class AlreadyExists(OperatorError):
    """There is one of that name."""
