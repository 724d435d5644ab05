"""The exception of this package."""

from __future__ import annotations

__all__ = ["AssumptionWarning", "Error", "NoTensorError"]


class Error(Exception):
    """A request that failed: ``str(error)`` is a sentence for people, ``error.code`` a word for programs.

    Codes: ``invalid_argument``, ``not_found``, ``parse``, ``unsupported``, ``io``, ``out_of_memory``, ``cuda``, ``internal``.
    """

    code: str

    def __init__(self, message: str, code: str = "internal") -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[Error], tuple[str, str]]:
        return (type(self), (str(self), self.code))


class NoTensorError(Error, TypeError):
    """An argument that should be a tensor is something else; a ``TypeError`` too."""


class AssumptionWarning(UserWarning):
    """Something was assumed, substituted or extrapolated; the result's ``warnings`` say the same."""


def is_chosen(word: str, chosen: str, other: str, name: str) -> bool:
    """Whether a word that may be one of two is the first of them."""
    if not isinstance(word, str) or word not in (chosen, other):
        raise Error(f"{name} {word!r} is none of {other}, {chosen}", "invalid_argument")
    return word == chosen
