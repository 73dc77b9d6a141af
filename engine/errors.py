"""Every error this package raises on purpose, by who must act.

    DatagenError
    ├── ConfigError          the user, before any work was done
    ├── ModelError           the endpoint (or the key, or the network); `kind` says whether a retry can help
    ├── CellError            one cell cannot be made: the row is rejected, the run goes on
    ├── ProcessorError       user code: a processor, a callback, a custom full-column generator
    ├── SinkError            storage: a part, manifest or metadata could not be written or read
    │   ├── DatasetLockedError   another process is writing the same dataset
    │   └── ResumeRefusedError   what is on disk does not fit what was asked
    ├── EarlyShutdownError   the run: too many cells failed, or a model's circuit opened
    ├── ShortfallError       the run: fewer rows were written than asked for
    ├── QualityError         the run: a quality gate failed
    ├── RunInterruptedError  someone: a signal, a cancellation, a timeout
    └── InternalError        a bug in this package: report it

Each carries its data as attributes (`row_group`, `column`, `row`, `attempts`, ...), survives pickling, and is raised
`from` its cause. Messages say what was refused, the value, and the limit or the way out. No secret reaches them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self


class ErrorKind(StrEnum):
    """What a failed call means for the cell that made it. Decided once, at the boundary that saw the failure."""

    RETRYABLE = "retryable"  # 5xx, timeout, connection: the same call may succeed later
    THROTTLED = "throttled"  # 429, or 503 with Retry-After: the same call will succeed, later
    PERMANENT = "permanent"  # other 4xx, unusable answer after the correction rounds: this row is rejected
    FATAL = "fatal"  # nothing of this run can succeed: it stops


class DatagenError(Exception):
    """Base of all. Keyword arguments become attributes; `None` values are left out of `context()`."""

    def __init__(self, message: str, **context: Any) -> None:
        super().__init__(message)
        self.message = message
        self._context = {name: value for name, value in context.items() if value is not None}
        for name, value in context.items():
            setattr(self, name, value)

    def context(self) -> dict[str, Any]:
        """What the error is about: row group, column, row, attempts, ... by name."""
        return dict(self._context)

    def located(self, **where: Any) -> Self:
        """The same error with a place put before its message, where it does not say one yet: stage, row group, ..."""
        missing = {name: value for name, value in where.items() if name not in self._context}
        if not missing:
            return self
        place = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in missing.items())
        return type(self)(f"{place}: {self.message}", **{**self._context, **missing})

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self._context)


def _rebuild(kind: type[DatagenError], message: str, context: dict[str, Any]) -> DatagenError:
    return kind(message, **context)


class ConfigError(DatagenError):
    """The config or the command line is wrong. `problems` holds one line per mistake, each starting with its path."""

    def __init__(self, message: str, *, problems: list[str] | None = None, **context: Any) -> None:
        super().__init__(message, problems=list(problems or [message]), **context)

    problems: list[str]


class ModelError(DatagenError):
    """A model call failed.

    Attributes:
        kind: what it means for the cell (`ErrorKind`).
        status: HTTP status, where there was an answer.
        reason: a short stable name for counting (`"401"`, `"timeout"`, `"connection"`, `"empty answer"`).
        endpoint: base URL without credentials.
        retry_after: seconds that the endpoint asked us to wait.
        answer: the last text the model gave, where that is what was wrong.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: ErrorKind,
        reason: str,
        status: int | None = None,
        endpoint: str | None = None,
        retry_after: float | None = None,
        answer: str | None = None,
        **context: Any,
    ) -> None:
        super().__init__(
            message,
            kind=kind,
            reason=reason,
            status=status,
            endpoint=endpoint,
            retry_after=retry_after,
            answer=answer,
            **context,
        )

    kind: ErrorKind
    reason: str
    status: int | None
    endpoint: str | None
    retry_after: float | None
    answer: str | None


class CellError(DatagenError):
    """One cell cannot be made, whatever is retried: the row is rejected with `reason`; `answer` is what there was."""

    def __init__(self, message: str, *, reason: str, answer: str | None = None, **context: Any) -> None:
        super().__init__(message, reason=reason, answer=answer, **context)

    reason: str
    answer: str | None


class InvalidAnswerError(DatagenError):
    """An answer that cannot be used. The message is shown to the model in a correction round."""


class ProcessorError(DatagenError):
    """User code failed. Carries `stage`, `row_group`, `processor` (or `column`)."""


class SinkError(DatagenError):
    """Storage failed. Carries `path` and, for a part, `row_group`."""


class DatasetLockedError(SinkError):
    """Another live process holds the dataset. Carries `path`, `pid`, `host`, `since`."""


class ResumeRefusedError(SinkError):
    """The dataset on disk does not fit the request. `differences` names each thing that differs."""

    def __init__(self, message: str, *, differences: list[str] | None = None, **context: Any) -> None:
        super().__init__(message, differences=list(differences or []), **context)

    differences: list[str]


class EarlyShutdownError(DatagenError):
    """The run stopped itself. Carries `model`, `cause` (the dominant one), `failed` and `calls`."""


class ShortfallError(DatagenError):
    """Fewer rows than asked for. Carries `written`, `requested` and `rejected_by_reason`."""


class QualityError(DatagenError):
    """A quality gate that fails the run did. Carries `check`, `observed` and `rows`."""


class RunInterruptedError(DatagenError):
    """The run was told to stop: a signal, a cancellation, a timeout. Carries `signal` or `cause`."""


class InternalError(DatagenError):
    """A bug in prefect-datagen. Please report it with the traceback."""
