"""A run's study in an Optuna storage, for optuna-dashboard. It is only written to, and can be made anew at any time."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mipro_nb.errors import ConfigError, nearest
from mipro_nb.reflection import NUMBER, Shown

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

DATABASES = ("sqlite", "postgresql", "mysql", "mariadb", "oracle", "mssql")  # that come with SQLAlchemy
REMARKING = ("_rdb.storage", "_in_memory", "journal._storage")  # Optuna's loggers that tell of a new study


def check_storage(storage: object) -> None:
    """Raise ConfigError unless it is a database's URL, an Optuna storage or None. Nothing is opened."""
    if storage is None:
        return
    if not isinstance(storage, str):
        from optuna.storages import BaseStorage

        if not isinstance(storage, BaseStorage):
            raise ConfigError(
                f"storage={type(storage).__name__}: a URL as in storage='sqlite:///runs.db', or an Optuna storage, is "
                "needed."
            )
        return
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    scheme, given, rest = storage.partition("://")
    told = f"{scheme}://..." if "@" in rest or "?" in rest else storage  # a password isn't repeated
    try:
        with contextlib.suppress(ImportError):  # a driver that is missing is told when the run opens the storage
            make_url(storage).get_dialect()
    except NoSuchModuleError as error:
        raise ConfigError(
            f"storage={told!r}: {scheme!r} is no database that is known; accepted: {', '.join(DATABASES)}."
            f"{nearest(scheme, DATABASES)}"
        ) from error
    except (ArgumentError, ValueError) as error:
        close = "" if given or not storage else f" Did you mean 'sqlite:///{storage}'?"
        raise ConfigError(
            f"storage={told!r}: the URL of a database is needed, as in storage='sqlite:///runs.db'.{close}"
        ) from (None if rest else error)


def reason_of(error: Exception, storage: object) -> str:
    """Say in a line what a storage raised; Optuna hides the database's own words behind its own. Without a password."""
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    said = " ".join(str(cause).splitlines()[:1]) or type(cause).__name__
    return said.replace(password, "***") if (password := _password(storage)) else said


def _password(storage: object) -> str:
    from sqlalchemy.engine import make_url

    url = make_url(storage) if isinstance(storage, str) else None
    return str(url.password or url.query.get("password", "")) if url is not None else ""


@dataclass(slots=True)
class _Held:
    """A trial as the storage holds it."""

    id: int
    began: datetime | None
    state: str
    value: float | None
    steps: dict[int, float]
    attrs: dict[str, Any]

    @classmethod
    def of(cls, trial: FrozenTrial, id_: int) -> _Held:
        steps, attrs = dict(trial.intermediate_values), dict(trial.user_attrs)
        return cls(id_, trial.datetime_start, trial.state.name, trial.value, steps, attrs)

    def contradicts(self, wanted: Shown) -> bool:
        """Whether it is finished, and so can't be changed, but the run went on with it."""
        if self.state == "RUNNING":
            return False
        if wanted.state is None:
            return wanted.step > max(self.steps, default=0)
        same = self.value == wanted.value or math.isclose(self.value or 0.0, wanted.value or 0.0, rel_tol=1e-9)
        return not same or (wanted.ranks and wanted.state != self.state)


class Study:
    """A run's study in a storage. It is found again by its name, and made if it isn't there.

    Args:
        storage: a database's URL, or an Optuna storage.

    Raises:
        Exception: whatever a storage raises; so do the methods.
    """

    def __init__(self, storage: str | BaseStorage, name: str) -> None:
        from optuna import storages

        self._own, self._name = isinstance(storage, str), name
        self._began: dict[int, datetime | None] = {}  # of the trials that were there before the study was made anew
        with _quietly():
            self._storage = storages.RDBStorage(storage) if isinstance(storage, str) else storage
            try:
                self._open()
            except BaseException:
                self.close()
                raise

    def _open(self) -> None:
        from optuna.exceptions import DuplicatedStudyError
        from optuna.study import StudyDirection

        try:
            self._id = self._storage.create_new_study([StudyDirection.MAXIMIZE], self._name)
        except DuplicatedStudyError:
            self._id = self._storage.get_study_id_from_name(self._name)
        self._attrs = dict(self._storage.get_study_user_attrs(self._id))
        self._trials = {
            trial.user_attrs[NUMBER]: _Held.of(trial, trial._trial_id)
            for trial in self._storage.get_all_trials(self._id, deepcopy=False)
            if NUMBER in trial.user_attrs
        }

    def outdated(self, wanted: Shown) -> bool:
        """Whether the study holds the trial as one that is finished, but the run went on with it."""
        held = self._trials.get(wanted.number)
        return held is not None and held.contradicts(wanted)

    def renew(self) -> None:
        """Begin the study anew, under its name: Optuna neither changes nor deletes a trial that is finished."""
        self._began = {number: held.began for number, held in self._trials.items()}
        self._storage.delete_study(self._id)
        with _quietly():
            self._open()

    def show(self, wanted: Shown) -> None:
        """Bring a trial to what it should be."""
        held = self._trials.get(wanted.number)
        if held is None:
            self._trials[wanted.number] = self._create(wanted)
        elif held.state == "RUNNING":
            self._update(held, wanted)

    def tell(self, attrs: Mapping[str, Any]) -> None:
        """Bring the study's own user attributes to these."""
        for key, value in attrs.items():
            if key not in self._attrs or self._attrs[key] != value:
                self._storage.set_study_user_attr(self._id, key, value)
                self._attrs[key] = value

    def close(self) -> None:
        """Let go of this thread's connection; of all, where the storage was given as a URL."""
        self._storage.remove_session()
        if self._own:
            self._storage.engine.dispose()  # type: ignore[attr-defined]

    def _create(self, wanted: Shown) -> _Held:
        from optuna.distributions import IntDistribution
        from optuna.trial import TrialState, create_trial

        trial = create_trial(
            state=TrialState[wanted.state or "RUNNING"],
            value=wanted.value,
            params=dict(wanted.params),
            # whole numbers, since the choices of a categorical one can't grow, and proposals come later
            distributions={name: IntDistribution(0, high) for name, high in wanted.highest.items()},
            user_attrs=dict(wanted.attrs),
            intermediate_values={wanted.step: wanted.mean} if wanted.mean is not None else {},
        )
        trial.datetime_start = self._began.get(wanted.number) or trial.datetime_start
        return _Held.of(trial, self._storage.create_new_trial(self._id, trial))

    def _update(self, held: _Held, wanted: Shown) -> None:
        from optuna.trial import TrialState

        if wanted.mean is not None and held.steps.get(wanted.step) != wanted.mean:
            self._storage.set_trial_intermediate_value(held.id, wanted.step, wanted.mean)
            held.steps[wanted.step] = wanted.mean
        for key, value in wanted.attrs.items():
            if held.attrs.get(key) != value:
                self._storage.set_trial_user_attr(held.id, key, value)
                held.attrs[key] = value
        if wanted.state is not None:
            values = [wanted.value] if wanted.value is not None else None
            self._storage.set_trial_state_values(held.id, TrialState[wanted.state], values)
            held.state, held.value = wanted.state, wanted.value


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep Optuna's remark that a study was made, in this thread, from the user's screen."""
    thread, loggers = threading.get_ident(), [logging.getLogger(f"optuna.storages.{name}") for name in REMARKING]

    def keep(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or record.thread != thread

    for logger in loggers:
        logger.addFilter(keep)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(keep)
