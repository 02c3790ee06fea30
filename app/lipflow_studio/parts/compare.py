"""Two to four contenders, avatars or settings of the prior, fitted to the present observation side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from PySide6.QtCore import QTimer, Signal

from lipflow import embedded
from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow_studio.commands import command
from lipflow_studio.compare_engine import CompareRequest, Entrant, Task, compare
from lipflow_studio.comparison import LIVE, MOST, PRIORS, CompareOptions, ComparisonUpdate, Contender, Standing
from lipflow_studio.document import AvatarInfo, Source
from lipflow_studio.edits import Edit
from lipflow_studio.memory import Rest
from lipflow_studio.observing import DRIVES, observation_of
from lipflow_studio.opening import avatar_file, avatar_name, load_avatar
from lipflow_studio.parts.base import Part
from lipflow_studio.parts.capture import Captures
from lipflow_studio.workers import Failure, Failures, Worker

if TYPE_CHECKING:
    from lipflow_studio.session import Session

POLL_MS = 40
SAVED = {"contenders", "layout", "split", "pair", "active"}  # what session files hold of it

Loaded = tuple[Avatar, AvatarInfo]


class Compare(Part):
    """Loads one avatar at a time; fits all of them in one thread, an iteration of each in turns.

    Another set of contenders begins anew, so that all have had the same.
    """

    name: ClassVar[str] = "compare"

    contenders_changed = Signal(object)  # tuple[Contender, …]
    active_changed = Signal(bool)
    options_changed = Signal(object)  # CompareOptions
    at_changed = Signal(int)  # the iteration that is shown; LIVE
    update_changed = Signal(object)  # ComparisonUpdate | None

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.contenders: tuple[Contender, ...] = ()
        self.active = False
        self.options = CompareOptions()
        self.at = LIVE
        self.update: ComparisonUpdate | None = None
        # Of the contenders, and of those that undo can bring back: their edits hold the key.
        self._avatars: WeakKeyDictionary[AvatarInfo, Avatar] = WeakKeyDictionary()
        self._fitted: tuple[int, ...] = ()  # places of those that the worker has
        self._failures: tuple[Failure | None, ...] = ()  # that were reported
        self._waiting: deque[Contender] = deque()  # to be loaded
        self._loader: Worker[None, Loaded] | None = None
        self._worker: Worker[CompareRequest, ComparisonUpdate] | None = None
        self._retired: list[Worker[Any, Any]] = []
        self._crashes = Failures()
        self._added: Edit[tuple[Contender, ...]] | None = None  # the last addition of one
        self._given: tuple[object, object] = (None, None)  # the source and its images that were sent last
        self._serial = 0
        self._timer = QTimer(self, interval=POLL_MS)
        self._timer.timeout.connect(self._poll)
        self._rest = Rest(self)
        session.observation_sent.connect(lambda _: self._follow())
        session.avatar_changed.connect(lambda _: self._follow())
        session.fit_config_changed.connect(lambda _: self._follow())
        session.fit_changed.connect(lambda update: self._follow() if update is None else None)  # undone, or opened
        session.camera_changed.connect(lambda camera: self._send(CompareRequest(view=camera.view)))
        session.part(Captures).truth_changed.connect(lambda _: self._follow(same=True))

    # Commands

    @command()
    def add(self, which: str = "", prior: str = "own") -> None:
        """Add a contender: an embedded avatar by its name, one by its file or its run's folder, or the open one ("").

        ``prior`` is what it is fitted under: "own", "standard-normal" or "no-likelihood".
        """
        try:
            contender = self._contender(which, prior)
            if len(self.contenders) >= MOST:
                expected = f"at most {MOST} contenders"
                raise InputError("comparison", expected=expected, got="one more", mend="remove one first")
        except InputError as error:
            self.session.report(error)
            return
        self._added = self._edit(f"addition of {contender.title} to the comparison", (*self.contenders, contender))

    @command()
    def add_models(self) -> None:
        """The embedded DAM, LiP-KL and LiP-Flow that suit what is fitted to, in place of the present contenders."""
        names = models_for(self.session)
        if len(names) < 2:
            got = ", ".join(names) or "none"
            self.session.report(InputError("comparison", expected="embedded avatars of several models", got=got))
            return
        self._edit("comparison of the models", tuple(self._contender(name, "own") for name in names))
        self.start()

    @command()
    def remove(self, index: int) -> None:
        """Take a contender out, by its place."""
        if self._is_place(index):
            left = tuple(c for i, c in enumerate(self.contenders) if i != index)
            if max(self.options.pair) >= len(left):
                self._put_options(pair=(0, 1))
            self._edit(f"removal of {self.contenders[index].title} from the comparison", left)

    @command()
    def clear(self) -> None:
        """Take all contenders out."""
        if self.contenders:
            self._edit("removal of all contenders", ())

    @command()
    def set_prior(self, index: int, prior: str) -> None:
        """Fit a contender under another setting of the prior."""
        if prior not in PRIORS:
            self.session.report(_no_prior(prior))
        elif self._is_place(index) and prior != self.contenders[index].prior:
            changed = replace(self.contenders[index], prior=prior)
            after = tuple(changed if i == index else c for i, c in enumerate(self.contenders))
            self._edit(f"change of the prior of {changed.title}", after)

    @command()
    def start(self) -> None:
        """Show the comparison; the open avatar is the first contender where there is none."""
        if self.session.avatar_info is None:
            self.session.report(InputError("comparison", expected="an open avatar", got="none"))
            return
        if not self.contenders:
            self._bring((self._contender("", "own"),))
        self._put_active(True)

    @command()
    def stop(self) -> None:
        """Back to the one head; the contenders stay for the next time."""
        self._put_active(False)

    @command()
    def restart(self) -> None:
        """All fits begin anew where the configuration says: the prior's guess, zero or a sample."""
        self._given = None, None  # as another observation
        if self._worker is None:  # it failed, and this may go better
            self._work()
        else:
            self._follow()

    @command(same=lambda at: "scrub")
    def scrub(self, at: int) -> None:
        """Show all contenders at an iteration of theirs; −1: at the newest, from now on."""
        self._put_at(max(int(at), LIVE))
        self._send(CompareRequest(at=self.at))

    @command()
    def set_layout(self, layout: str) -> None:
        """Show the faces "side" by side, or two laid over each other, "split" by a divider."""
        self._set_options(layout=layout)

    @command(same=lambda split: "split")
    def set_split(self, split: float) -> None:
        """Put the divider somewhere, 0–1 of the width from the left."""
        self._set_options(split=split)

    @command()
    def set_pair(self, left: int, right: int) -> None:
        """Choose the contenders on either side of the divider, by their places."""
        self._set_options(pair=(left, right))

    # Part

    @property
    def busy(self) -> bool:
        return self._loader is not None

    @property
    def running(self) -> bool:
        """Whether a contender's fit goes on."""
        return self.update is not None and self.update.running

    @property
    def at_rest(self) -> bool:
        """Whether all contenders are there and their fits to the present observation have come to their end."""
        if self.busy or self._worker is None:
            return not self.busy
        return self.update is not None and self.update.task == self._serial and not self.running

    def saved(self) -> Mapping[str, Any]:
        kept = [{"which": c.which, "prior": c.prior} for c in self.contenders if c.which]
        if not kept:
            return {}
        options = self.options
        shown = {"layout": options.layout, "split": options.split, "pair": list(options.pair), "active": self.active}
        return {"contenders": kept, **shown}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """The avatars are loaded again, one by one; one that is gone is left out."""
        self._put_active(False)
        self._put_contenders(())
        self._put_options(**vars(CompareOptions()))
        if not saved:
            return
        listed = saved.get("contenders")
        if set(saved) != SAVED or not isinstance(listed, list) or len(listed) > MOST:
            raise InputError("session, comparison", expected=", ".join(sorted(SAVED)), got=", ".join(sorted(saved)))
        pair = saved["pair"]
        options = CompareOptions(saved["layout"], saved["split"], tuple(pair) if isinstance(pair, list) else pair)
        self._put_options(**vars(options))
        for entry in listed:
            if not isinstance(entry, dict) or not isinstance(entry.get("which"), str) or not entry["which"]:
                raise InputError("session, comparison", expected="avatars and priors", got=repr(entry)[:60])
            try:
                self._bring((*self.contenders, self._contender(entry["which"], entry.get("prior"))))
            except InputError as error:
                self.session.report(error)
        self._put_active(saved["active"] is True)

    def close(self) -> bool:
        self._timer.stop()
        self._waiting.clear()
        self._retire()
        self._rest.stop()
        self._retired = [worker for worker in self._retired if not worker.stop()]
        return not self._retired

    # Inside: contenders

    def _contender(self, which: str, prior: Any) -> Contender:
        """One by what scripts call it; it is loaded when it is brought in.

        Raises:
            InputError: an avatar or a setting of the prior that is not there.
        """
        session = self.session
        if not isinstance(prior, str) or prior not in PRIORS:
            raise _no_prior(prior)
        if which:
            path = avatar_file(which)
            name = which if embedded.embedded_avatars().get(which) == path else str(path.absolute())
            return Contender(name, avatar_name(path.absolute()), prior)
        if session.avatar is None or session.avatar_info is None:
            raise InputError("comparison", expected="an open avatar", got="none")
        contender = Contender(_where(session.avatar_info), session.avatar_info.name, prior)
        return self._with_avatar(contender, (session.avatar, session.avatar_info))

    def _edit(self, text: str, contenders: tuple[Contender, ...]) -> Edit[tuple[Contender, ...]]:
        edit = Edit(text, self.contenders, contenders, do=self._bring, put=self._bring, now=lambda: self.contenders)
        self.session.undo_stack.push(edit)
        return edit

    def _bring(self, contenders: tuple[Contender, ...]) -> None:
        """Make them the contenders; those that are not loaded are, one after the other."""
        ready: list[Contender] = []
        for contender in contenders:
            try:
                ready.append(self._ready(contender))
            except InputError as error:  # its file was there when it was added
                self.session.report(error)
        self._put_contenders(tuple(ready))
        self._load()

    def _ready(self, contender: Contender) -> Contender:
        if contender.info is not None:
            return contender
        loaded = self._loaded_already(avatar_file(contender.which))
        if loaded is not None:
            return self._with_avatar(contender, loaded)
        if contender not in self._waiting:
            self._waiting.append(contender)
            self.recording.begin(_job_of(contender))
        return contender

    def _loaded_already(self, path: Path) -> Loaded | None:
        """The avatar of a file that is open or a contender."""
        avatar, info = self.session.avatar, self.session.avatar_info
        open_one = () if avatar is None or info is None else ((avatar, info),)
        others = ((self._avatars[c.info], c.info) for c in self.contenders if c.info is not None)
        for avatar, info in (*open_one, *others):
            if info.path is not None and info.path.absolute() == path.absolute():
                return avatar, info
        return None

    def _with_avatar(self, contender: Contender, loaded: Loaded) -> Contender:
        avatar, info = loaded
        self._avatars[info] = avatar
        return replace(contender, title=info.name, info=info)

    def _load(self) -> None:
        """Load the next avatar that waits for it."""
        if self._loader is None and self._waiting:
            path, device = avatar_file(self._waiting[0].which), self.session.device

            def once() -> Any:
                yield load_avatar(path, device)

            self._loader = Worker(once, name="contender").start()
            self._timer.start()
            self.session.busy_changed.emit(f"Opening {self._waiting[0].title}")

    def _poll_loader(self, loader: Worker[None, Loaded]) -> None:
        alive = loader.alive  # asked first: one that ends after this is read at the next poll
        loaded, failure = loader.take(), loader.take_failure()
        if loaded is None and failure is None and alive:
            return
        self._loader = None
        self.session.busy_changed.emit("")
        contender = self._waiting.popleft()
        self.recording.ended(_job_of(contender), failed=failure is not None and self._take_back(contender))
        if failure is not None:
            self.session.report(failure.error, failure.details)
        if contender in self.contenders:  # it may have been removed meanwhile
            found = [] if loaded is None else [self._with_avatar(contender, loaded)]
            place = self.contenders.index(contender)
            self._put_contenders((*self.contenders[:place], *found, *self.contenders[place + 1 :]))
        self._load()

    def _take_back(self, contender: Contender) -> bool:
        """Undo the addition of one that cannot be loaded, unless there were other edits since."""
        added = self._added
        if added is None or added.forgotten or added.after[-1:] != (contender,):
            return False
        return self.session.undo_stack.drop(added)

    def _put_contenders(self, contenders: tuple[Contender, ...]) -> None:
        self.contenders = contenders
        self._work()
        self.contenders_changed.emit(contenders)

    # Inside: the fits

    def _put_active(self, on: bool) -> None:
        if on is not self.active:
            self.active = on
            self._work()
            self.active_changed.emit(on)

    def _work(self) -> None:
        """A new worker with the present contenders, if they are looked at; what ran before is let go."""
        self._retire_worker()
        self._put_at(LIVE)
        self._put_update(None)
        places = tuple(i for i, c in enumerate(self.contenders) if c.info is not None)
        self._fitted, self._failures = places, (None,) * len(places)
        ready = [self.contenders[i] for i in places]
        entrants = [Entrant(self._avatars[c.info], c.info, c.prior) for c in ready if c.info is not None]
        if not self.active or not entrants:
            return
        view = self.session.camera.view
        self._worker = Worker(lambda: compare(entrants, view), name="compare", merge=CompareRequest.merge).start()
        self._timer.start()
        self._given = None, None
        self._follow()

    def _follow(self, same: bool = False) -> None:
        """Hand the session's observation to all; ``same``: it is the one they have, and only its truth is another."""
        session, document = self.session, self.session.document
        if self._worker is None or document.keypoints is None or document.config is None:
            return
        try:
            observation = observation_of(document, session.device)
        except InputError as error:
            session.report(error)
            return
        captures = session.part(Captures)
        images = {Source.HEADSET: document.headset, Source.FRONTAL: document.frontal}.get(document.source)
        given = (document.source, images)
        # Images are another face: the prior's guess comes first. Keypoints are dragged, and a sequence goes on.
        another = given[0] is not self._given[0] or (given[1] is not self._given[1] and not captures.playing)
        self._serial += not same
        face = None if session.picture is None else session.picture.shape.keypoints
        task = Task(observation, document.source, document.config, captures.truth_of_observation, self._serial, face)
        if another:
            self._put_at(LIVE)
        self._given = given
        self._send(CompareRequest(task, restart=another))

    def _send(self, request: CompareRequest) -> None:
        if self._worker is not None:
            self._worker.send(request)

    def _poll(self) -> None:
        self._retired = [worker for worker in self._retired if worker.alive]
        if self._loader is not None:
            self._poll_loader(self._loader)
        if self._worker is not None:
            update, failure = self._worker.take(), self._worker.take_failure()
            if update is not None:
                self._take(update)
            if failure is not None:
                self._retire_worker()
                self.session.report(failure.error, failure.details)
                if self._crashes.forgivable():
                    self._work()
        if self._worker is None and self._loader is None and not self._retired:
            self._timer.stop()

    def _take(self, update: ComparisonUpdate) -> None:
        self._rest.note(update.running)
        standings: list[Standing | None] = [None] * len(self.contenders)
        for place, standing in zip(self._fitted, update.standings):
            standings[place] = standing
        self._put_update(replace(update, standings=tuple(standings)))
        before, self._failures = self._failures, tuple(s.failure if s else None for s in update.standings)
        for place, old, new in zip(self._fitted, before, self._failures):
            if new is not None and new is not old:
                self.session.report(new.error, f"{self.contenders[place].title}\n{new.details}")

    def _retire(self) -> None:
        self._retire_worker()
        if self._loader is not None:
            self._loader.ask_to_stop()
            self._retired.append(self._loader)
            self._loader = None

    def _retire_worker(self) -> None:
        if self._worker is not None:
            self._worker.ask_to_stop()
            self._retired.append(self._worker)
            self._worker = None
            self._rest.note(running=False)

    # Inside: fields

    def _set_options(self, **changes: Any) -> None:
        try:
            self._put_options(**changes)
        except InputError as error:
            self.session.report(error)

    def _put_options(self, **changes: Any) -> None:
        after = replace(self.options, **changes)
        if after != self.options:
            self.options = after
            self.options_changed.emit(after)

    def _put_at(self, at: int) -> None:
        if at != self.at:
            self.at = at
            self.at_changed.emit(at)

    def _put_update(self, update: ComparisonUpdate | None) -> None:
        if update is not self.update:
            self.update = update
            self.update_changed.emit(update)

    def _is_place(self, index: int) -> bool:
        known = type(index) is int and 0 <= index < len(self.contenders)
        if not known:
            expected = f"one of {len(self.contenders)}, from 0"
            self.session.report(InputError("contender", expected=expected, got=repr(index)))
        return known


def models_for(session: Session) -> list[str]:
    """The embedded avatars of the models that the paper compares, driven by what is fitted to. A photograph drives
    none: then by what would drive the open avatar."""
    info, there = session.avatar_info, embedded.embedded_avatars()
    kind = DRIVES.get(session.source) or (None if info is None else info.driving) or "kpt"
    return [name for name in ("dam", f"lip-kl-{kind}", f"lip-flow-{kind}") if name in there]


def _job_of(contender: Contender) -> str:
    return f"contender {contender.which} {contender.prior}"


def _where(info: AvatarInfo) -> str:
    """What finds an avatar again: its name if it is embedded, else its file; empty if it has none."""
    if info.path is None:
        return ""
    return info.name if embedded.embedded_avatars().get(info.name) == info.path else str(info.path.absolute())


def _no_prior(prior: object) -> InputError:
    return InputError("prior", expected=" or ".join(PRIORS), got=repr(prior))
