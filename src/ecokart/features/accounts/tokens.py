"""Session tokens: JWTs (RFC 7519) with `userId` and `role`, seven days, bound to a session record."""

from __future__ import annotations

from datetime import datetime

import jwt
import msgspec

from ecokart.features.accounts.model import Session, SessionEnded

ALGORITHM = "HS256"
KNOWN_TOKENS = 50_000


class Claims(msgspec.Struct, frozen=True, rename="camel"):
    """What a token says. `sid` names the session; while that exists the token holds."""

    user_id: str
    role: str
    sid: str
    exp: int


class Tokens:
    """Issues and reads tokens. A token that was verified once is known; its end is checked each time."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._known: dict[str, Claims] = {}

    def issue(self, session: Session) -> str:
        claims = {
            "userId": session.customer_id,
            "role": session.role,
            "sid": session.id,
            "iat": int(session.created_at.timestamp()),
            "exp": int(session.expires_at.timestamp()),
        }
        return jwt.encode(claims, self._secret, ALGORITHM)

    def read(self, token: str, now: datetime) -> Claims:
        """The claims of a token of ours. Raises `SessionEnded` for any other, and for one past its end."""
        claims = self._known.get(token)
        if claims is None:
            claims = self._verified(token)
            if len(self._known) >= KNOWN_TOKENS:
                self._known.clear()
            self._known[token] = claims
        if claims.exp <= now.timestamp():
            raise SessionEnded
        return claims

    def _verified(self, token: str) -> Claims:
        try:
            # The end is checked against the house's own clock, in `read`.
            payload = jwt.decode(
                token, self._secret, [ALGORITHM], options={"verify_exp": False, "verify_iat": False}
            )
            return msgspec.convert(payload, Claims)
        except (jwt.InvalidTokenError, msgspec.ValidationError):
            raise SessionEnded from None
