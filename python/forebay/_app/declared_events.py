"""The buses, registries, rules, API destinations, archives and schedules that an app declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forebay._app.declared_once import check_same
from forebay._model import names
from forebay._model.registry import RegistrySettings
from forebay.errors import ResourceConflict
from forebay.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._model.api_destination import ApiDestinationSettings
    from forebay._model.archive import ArchiveSettings
    from forebay._model.bus import RuleSettings, ScheduleSettings
    from forebay._model.settings import AppSettings
    from forebay._runtime.caller import Caller
    from forebay.api_destination import ApiDestination
    from forebay.archive import Archive
    from forebay.bus import Bus


class DeclaredEvents:
    """The part of an app's declarations that routes events."""

    settings: AppSettings
    _caller: Caller
    _new: list[Any]

    def __init__(self) -> None:
        super().__init__()
        self.buses: dict[str, Bus] = {}
        self.registries: dict[str, Registry] = {}
        self.rules: dict[tuple[str, str], RuleSettings] = {}
        self.emit_events = False
        self.api_destinations: dict[str, ApiDestination] = {}
        self.archives: dict[str, Archive] = {}
        self.schedules: dict[str, ScheduleSettings] = {}

    def bus(
        self, name: str, discovery: bool | None, enforce: str | bool | None, on_new: Callable[[], None]
    ) -> tuple[Bus, bool]:
        """Declare a bus, which calls `on_new` when it is given a rule; tell whether it is new."""
        from forebay._model.bus import BusSettings
        from forebay.bus import Bus

        settings = BusSettings(name=name, discovery=discovery, enforce=enforce)
        known = self.buses.get(name)
        if known is None:
            arn = names.bus_arn(self.settings.region, self.settings.account, name)
            known = self.buses[name] = Bus(settings, arn, self._caller, self, on_new)
            return known, True
        is_named = discovery is None and enforce is None
        if not is_named and known.settings != settings:
            raise ResourceConflict(
                f"bus {name!r} is already declared, with other settings: give them where it is declared first"
            )
        return known, False

    def registry(self, name: str, description: str | None) -> tuple[Registry, bool]:
        """Declare a registry of schemas; tell whether it is new."""
        settings = RegistrySettings(name=name, description=description)
        known = self.registries.get(name)
        if known is None:
            arn = names.registry_arn(self.settings.region, self.settings.account, name)
            known = self.registries[name] = Registry(settings, arn, self._caller)
            return known, True
        if description is not None and known.settings != settings:
            raise ResourceConflict(f"registry {name!r} is already declared, with another description")
        return known, False

    def rule(self, rule: RuleSettings) -> None:
        """Declare a rule of a bus."""
        known = self.rules.setdefault((rule.bus, rule.name), rule)
        check_same(f"rule {rule.name!r} of bus {rule.bus!r}", known, rule)
        self._new.append(rule)

    def api_destination(self, settings: ApiDestinationSettings) -> ApiDestination:
        """Declare an API destination, or give the one that was declared."""
        from forebay.api_destination import ApiDestination

        arn = names.api_destination_arn(self.settings.region, self.settings.account, settings.name)
        known = self.api_destinations.setdefault(settings.name, ApiDestination(settings, arn))
        check_same(f"API destination {settings.name!r}", known.settings, settings)
        self._new.append(known)
        return known

    def archive(self, archive: ArchiveSettings) -> Archive:
        """Declare an archive of a bus, or give the one that was declared."""
        from forebay.archive import Archive

        known = self.archives.setdefault(archive.name, Archive(archive))
        check_same(f"archive {archive.name!r}", known.settings, archive, other="another bus or other settings")
        self._new.append(archive)
        return known

    def schedule(self, schedule: ScheduleSettings) -> None:
        """Declare a schedule."""
        known = self.schedules.setdefault(schedule.name, schedule)
        check_same(f"schedule {schedule.name!r}", known, schedule)
        self._new.append(schedule)
