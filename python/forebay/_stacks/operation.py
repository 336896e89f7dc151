"""Carries out an operation on a stack: forward, then cleanup; or back to what was there. Killed anywhere it goes on."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from forebay._sam import secret
from forebay._sam.errors import TemplateRefused
from forebay._sam.plan import MALFORMED, Resource, Step
from forebay._stacks.assembly import Declaration, assemble
from forebay._stacks.functions import Deployed
from forebay._stacks.kind import Procedure, Request
from forebay._stacks.store import ROLLBACK
from forebay._stacks.table import ALL
from forebay._wire import payload
from forebay.errors import ForebayError, ResourceConflict, ResourceNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from forebay._sam.plan import World
    from forebay._stacks.store import Operation, Stack, StackStore, State

log = logging.getLogger("forebay.stacks")

FORWARD: Final = "forward"
CLEANUP: Final = "cleanup"
_DONE: Final = {"CREATE": "CREATE_COMPLETE", "UPDATE": "UPDATE_COMPLETE", "DELETE": "DELETE_COMPLETE"}


class Target(Protocol):
    """Where a stack is deployed: a running app, or a store that no app runs on."""

    is_live: bool
    """Whether functions, mappings and APIs are served now. Of a store alone, the next start serves them."""

    async def request(self, request: Request) -> Any:
        """Ask the engine."""

    async def register(self, function: Deployed) -> None:
        """Have a function run, once its code can be loaded; of a store alone, see that it can be."""


class Runs:
    """One operation that is carried out."""

    def __init__(
        self,
        store: StackStore,
        target: Target,
        *,
        stack: Stack,
        operation: Operation,
        world: World,
        passed: Callable[[str], None],
    ) -> None:
        """Take an operation up.

        Args:
            store: where its progress is kept.
            target: where it deploys.
            stack: the stack, as it was when the operation began.
            operation: how far it has come.
            world: what names the stack's resources.
            passed: called at each point at which it may be killed, with the point's name.

        """
        self._store = store
        self._target = target
        self._stack = stack
        self._operation = operation
        self._world = world
        self._passed = passed
        self._old, self._new = _assembled_before(operation), assemble(operation.after.resources)
        self._begun = operation.begun
        self._steps = _steps(operation.before.resources, operation.after.resources)

    async def run(self, *, resumed: bool = False) -> str:
        """Carry it out; give the stack's status."""
        phase = self._operation.phase
        if phase == FORWARD:
            try:
                await self._forward(resumed=resumed)
            except ForebayError as error:
                reason = str(secret.shown(str(error)))
                if self._operation.keeps and self._operation.kind != "DELETE":
                    status = f"{self._operation.kind}_FAILED"
                    self._store.keep(self._stack, status, reason)
                    return status
                self._turn(ROLLBACK, "ROLLBACK" if self._operation.kind == "CREATE" else "UPDATE_ROLLBACK", reason)
                return await self._roll_back(reason)
            if self._operation.kind == "UPDATE":
                self._turn(CLEANUP, "UPDATE_COMPLETE_CLEANUP", None)
            return await self._clean_up()
        return await (self._clean_up() if phase == CLEANUP else self._roll_back(self._operation.reason))

    def _turn(self, phase: str, status: str, reason: str | None) -> None:
        self._store.turn(self._stack, phase, f"{status}_IN_PROGRESS", reason)
        self._passed(phase)

    # --- forward

    async def _forward(self, *, resumed: bool) -> None:
        pending = {name: one for name, one in self._new.items() if self._old.get(name) != one}
        done = {step.logical for step in self._steps[: self._operation.position]}
        if resumed:  # whatever was declared before the program was killed is to be declared to this one
            await self._declare(pending, lambda one: one.trigger in done)
        for at, step in enumerate(self._steps[self._operation.position :], self._operation.position):
            after = step.after
            if after is None:
                continue
            verb = "CREATE" if step.before is None or step.replaces else "UPDATE"
            try:
                if verb == "CREATE" and at >= self._begun:
                    await self._refuse_taken(after)
                self._begun = at + 1
                self._store.begun(self._stack, f"{verb}_IN_PROGRESS", after, self._begun)
                self._passed(f"step {at}")
                await self._put(after, step.before if not step.replaces else None, self._operation.after)
                self._passed(f"put {at}")
                await self._declare(pending, lambda one, logical=after.logical: one.trigger == logical)  # type: ignore[misc]
            except ForebayError as error:
                self._store.say(self._stack, f"{verb}_FAILED", after, str(secret.shown(str(error))))
                raise ForebayError(
                    f"The following resource(s) failed to {verb.lower()}: [{after.logical}]. {error}"
                ) from error
            place = list(self._operation.after.resources).index(after.logical)
            self._store.done(self._stack, f"{verb}_COMPLETE", after, at + 1, place)
            self._passed(f"done {at}")
        await self._declare(pending, lambda _: True)

    async def _refuse_taken(self, resource: Resource) -> None:
        """Refuse what the app has already, and no stack made."""
        describe = ALL[resource.type].describe
        if describe is None:
            return
        try:
            with _in_words():
                await self._target.request(describe(resource))
        except ResourceNotFound:
            return
        raise ResourceConflict(f"{resource.physical} already exists")

    async def _put(self, resource: Resource, before: Resource | None, state: State) -> None:
        try:
            with _in_words():
                for request in ALL[resource.type].put(resource, before, self._world):
                    await self._do(Request(request.verb, secret.revealed(request.fields, state.secrets)))
        except ForebayError as error:
            raise ForebayError(secret.concealed(str(error), state.secrets.values())) from error

    async def _do(self, request: Request) -> None:
        """Carry out a part of a step. What is to be deleted may be gone already: a program that was killed does a step again."""
        try:
            await self._target.request(request)
        except ResourceNotFound:
            if not request.verb.endswith(".delete"):
                raise

    async def _declare(
        self, pending: dict[str, Declaration], which: Callable[[Declaration], bool], state: State | None = None
    ) -> None:
        """Declare what is pending and meant; it is pending no more."""
        secrets = (state or self._operation.after).secrets
        for name in [name for name, one in pending.items() if which(one)]:
            what = pending[name].what
            try:
                with _in_words():
                    if isinstance(what, Deployed):
                        await self._target.register(revealed(what, secrets))
                    elif isinstance(what, Procedure):
                        await what.put(self._target.request, secret.revealed(what.fields, secrets))
                    elif self._target.is_live:
                        await self._target.request(Request(what.verb, secret.revealed(what.fields, secrets)))
            except ForebayError as error:
                raise ForebayError(f"{name}: {secret.concealed(str(error), secrets.values())}") from error
            del pending[name]

    # --- cleanup

    async def _clean_up(self) -> str:
        """Remove what is not there any more. What cannot be removed is told of, and stops a deletion alone."""
        failed = []
        for name in reversed(self._old):
            if name not in self._new and not self._old[name].keep_deleted:
                reason = await self._undo(self._old[name])
                if reason is not None:
                    failed.append(reason)
        before, after = self._operation.before.resources, self._operation.after.resources
        for logical in reversed(before):
            old, new = before[logical], after.get(logical)
            if new is not None and (new.type, new.physical) == (old.type, old.physical):
                continue
            reason = await self._remove(old, keep=old.keep_deleted if new is None else old.keep_replaced)
            self._passed(f"gone {logical}")
            if reason is not None:
                failed.append(f"[{logical}] {reason}")
        status = _DONE[self._operation.kind]
        if failed and self._operation.kind == "DELETE":
            reason = f"The following resource(s) failed to delete: {'; '.join(failed)}"
            self._store.keep(self._stack, "DELETE_FAILED", reason)
            return "DELETE_FAILED"
        self._store.end(self._stack, self._operation.after, status, None)
        self._passed("ended")
        return status

    async def _undo(self, declaration: Declaration) -> str | None:
        what, undo = declaration.what, declaration.undo
        try:
            with _in_words():
                if isinstance(what, Procedure):
                    await what.remove(self._target.request, what.fields)
                elif undo is not None and (self._target.is_live or undo.verb == "mapping.delete"):
                    await self._target.request(undo)
        except ResourceNotFound:
            return None
        except ForebayError as error:
            return str(error)
        return None

    async def _remove(self, resource: Resource, *, keep: bool) -> str | None:
        if keep:
            self._store.gone(self._stack, resource, "DELETE_SKIPPED")
            return None
        self._store.say(self._stack, "DELETE_IN_PROGRESS", resource)
        try:
            with _in_words():
                for request in ALL[resource.type].gone(resource):
                    try:
                        await self._target.request(request)
                    except ResourceNotFound:
                        continue
        except ForebayError as error:
            self._store.gone(self._stack, resource, "DELETE_FAILED", str(error))
            return str(error)
        self._store.gone(self._stack, resource, "DELETE_COMPLETE")
        return None

    # --- back

    async def _roll_back(self, reason: str | None) -> str:
        """Bring back what was there: what is new goes, what was changed is as it was."""
        failed: list[str] = []
        left: dict[str, Resource] = {}
        places = list(self._operation.before.resources)
        begun = self._steps[: self._begun]  # what is behind them is not this stack's: it may be there, and must stay
        ours = {step.logical for step in begun}
        for name in reversed(self._new):
            new = self._new[name]
            if name not in self._old and new.trigger in ours and not new.keep_failed:
                failed += filter(None, [await self._undo(self._new[name])])
        for step in reversed(begun):
            if step.after is None:
                continue
            self._passed(f"back {step.logical}")
            if step.before is not None and not step.replaces:
                failed += filter(None, [await self._put_back(step.before, step.after)])
            else:
                removal = await self._remove(step.after, keep=step.after.keep_failed)
                if removal is not None:
                    failed.append(f"[{step.logical}] {removal}")
                    left[step.logical] = step.after
            if step.before is not None:  # what functions are attached to is looked up there
                self._store.back(self._stack, step.before, places.index(step.logical))
        changed = {name: one for name, one in self._old.items() if self._new.get(name) != one}
        try:
            await self._declare(changed, lambda _: True, self._operation.before)
        except ForebayError as error:
            failed.append(str(error))
        prefix = "ROLLBACK" if self._operation.kind == "CREATE" else "UPDATE_ROLLBACK"
        status = f"{prefix}_FAILED" if failed else f"{prefix}_COMPLETE"
        told = "; ".join([reason or "", *failed]) if failed else reason
        self._store.end(self._stack, self._with(left), status, told)
        self._passed("ended")
        return status

    def _with(self, left: dict[str, Resource]) -> State:
        """Give what was there before, with new resources that could not be removed: the stack is deleted with them."""
        before, after = self._operation.before, self._operation.after
        if not left:
            return before
        secrets = {**after.secrets, **before.secrets}
        in_order = {name: one for name, one in after.resources.items() if name in left}
        return replace(before, resources={**in_order, **before.resources}, secrets=secrets)

    async def _put_back(self, before: Resource, after: Resource) -> str | None:
        self._store.say(self._stack, "UPDATE_IN_PROGRESS", before)
        try:
            await self._put(before, after, self._operation.before)
        except ForebayError as error:
            self._store.say(self._stack, "UPDATE_FAILED", before, str(secret.shown(str(error))))
            return f"[{before.logical}] {error}"
        self._store.say(self._stack, "UPDATE_COMPLETE", before)
        return None


@contextmanager
def _in_words() -> Iterator[None]:
    """Have whatever goes wrong be an error of ours: an operation that only stopped would never end."""
    try:
        yield
    except ForebayError:
        raise
    except (ValueError, *MALFORMED) as error:
        raise ForebayError(f"a property has another form than it should: {error!r}") from error


def _assembled_before(operation: Operation) -> dict[str, Declaration]:
    """Give what was declared of a stack; nothing of one that an earlier release took and that is not served."""
    try:
        return assemble(operation.before.resources)
    except (ForebayError, *MALFORMED) as error:
        log.warning("stack %s: what it declared cannot be read, and is declared anew: %r", operation.stack, error)
        return {}


def check_requests(steps: Iterable[Step], world: World) -> None:
    """Refuse what no request can be made of.

    Raises:
        TemplateRefused: says of which resources, and why.

    """
    reasons = []
    for step in steps:
        if step.after is None:
            continue
        kind = ALL[step.after.type]
        try:
            with _in_words():
                made = [*kind.put(step.after, step.before, world), *kind.gone(step.after)]
                made += [kind.describe(step.after)] if kind.describe is not None else []
                for request in made:
                    payload.dumps(request.fields)
        except ForebayError as error:
            reasons.append(f"{step.logical}: {error}")
    if reasons:
        raise TemplateRefused(reasons)


def revealed(function: Deployed, secrets: Mapping[str, str]) -> Deployed:
    """Give a function with its secrets."""
    fields = {name: getattr(function, name) for name in function.__dataclass_fields__}
    variables = secret.revealed(function.variables, secrets)
    return Deployed(**{**fields, "variables": variables, "conceals": tuple(secrets.values())})


def _steps(before: Mapping[str, Resource], after: Mapping[str, Resource]) -> list[Step]:
    """Give what is made or changed, in order: the same list each time."""
    return [
        Step(logical=name, before=before.get(name), after=one) for name, one in after.items() if before.get(name) != one
    ]
