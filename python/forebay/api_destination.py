"""A declared API destination: an HTTP endpoint to which rules of event buses send events."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forebay._model.api_destination import ApiDestinationSettings


class ApiDestination:
    """An HTTP endpoint as target of rules. Made by `App.api_destination`, never by hand.

    Attributes:
        name: its name.
        arn: its ARN, as AWS writes that of an API destination.

    """

    def __init__(self, settings: ApiDestinationSettings, arn: str) -> None:
        self.settings = settings
        self.arn = arn

    @property
    def name(self) -> str:
        """Its name."""
        return self.settings.name

    def __repr__(self) -> str:
        return f"<ApiDestination {self.name!r} ({self.settings.host})>"
