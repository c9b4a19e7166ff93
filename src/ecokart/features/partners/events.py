"""What happens to partners and their keys. Who did it stands in the event; a secret never does."""

from __future__ import annotations

from datetime import datetime

from ecokart.core.events import Event


class PartnerFact(Event, frozen=True, kw_only=True):
    """Something happened to a partner."""

    partner_id: str

    def about(self) -> str:
        return f"partners/{self.partner_id}"


class PartnerAdded(PartnerFact, frozen=True, kw_only=True, tag="partner.added"):
    """There is a new partner."""

    partner_name: str


class PartnerChanged(PartnerFact, frozen=True, kw_only=True, tag="partner.changed"):
    """Its data or its limits are others now; `fields` names which."""

    fields: tuple[str, ...]


class PartnerDeactivated(PartnerFact, frozen=True, kw_only=True, tag="partner.deactivated"):
    """None of its keys opens anything until it is activated again."""


class PartnerActivated(PartnerFact, frozen=True, kw_only=True, tag="partner.activated"):
    """Its keys are good again."""


class KeyIssued(PartnerFact, frozen=True, kw_only=True, tag="partner.key_issued"):
    """It has a new key."""

    key_id: str
    scopes: tuple[str, ...]
    expires_at: datetime | None


class KeyRotated(PartnerFact, frozen=True, kw_only=True, tag="partner.key_rotated"):
    """A key has a successor, and ends itself at `ends_at`."""

    key_id: str
    successor: str
    ends_at: datetime


class KeyRevoked(PartnerFact, frozen=True, kw_only=True, tag="partner.key_revoked"):
    """A key opens nothing from now on."""

    key_id: str


class KeyRestored(PartnerFact, frozen=True, kw_only=True, tag="partner.key_restored"):
    """A key that was revoked by mistake is good again."""

    key_id: str
