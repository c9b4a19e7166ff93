"""What happens to endpoints. A partner's stream tells of them; no secret stands in it."""

from __future__ import annotations

from datetime import datetime

from ecokart.core.events import Event
from ecokart.features.webhooks.model import Off


class EndpointFact(Event, frozen=True, kw_only=True):
    """Something happened to an endpoint of a partner's."""

    partner_id: str
    endpoint_id: str

    def about(self) -> str:
        return f"partners/{self.partner_id}"


class EndpointAdded(EndpointFact, frozen=True, kw_only=True, tag="endpoint.added"):
    """There is a new endpoint."""

    url: str
    topics: tuple[str, ...]


class EndpointChanged(EndpointFact, frozen=True, kw_only=True, tag="endpoint.changed"):
    """It has another address, or is told of other things."""

    url: str
    topics: tuple[str, ...]


class EndpointRemoved(EndpointFact, frozen=True, kw_only=True, tag="endpoint.removed"):
    """It is told of nothing any more, and what waited for it is gone."""


class SecretRotated(EndpointFact, frozen=True, kw_only=True, tag="endpoint.secret_rotated"):
    """It has a new secret; the one before signs too until `overlap_until`."""

    overlap_until: datetime


class EndpointDisabled(EndpointFact, frozen=True, kw_only=True, tag="endpoint.disabled"):
    """It gets nothing until it is enabled again."""

    because: Off
    url: str


class EndpointEnabled(EndpointFact, frozen=True, kw_only=True, tag="endpoint.enabled"):
    """It gets messages again, from now on."""


class ReplayAsked(EndpointFact, frozen=True, kw_only=True, tag="endpoint.replay_asked"):
    """What was told since then is to be sent once more: what failed, or `everything`."""

    since: datetime
    everything: bool


class DeliveryDue(Event, frozen=True, kw_only=True, tag="delivery.due"):
    """A delivery is to be attempted now, as it stands after so many tries. A signal, not kept."""

    delivery_id: str
    tries: int
