"""Who may ask, and what a browser is told to refuse.

Three checks stand before every request: the `Host` header names this server, a request that changes something comes
from this server's own page, and, where a token is set, the client shows it (`Authorization: Bearer`, or the cookie
that `POST /api/login` gives in exchange).
"""

from __future__ import annotations

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie

from prefect_datagen.server.asgi import Headers, Scope, header
from prefect_datagen.server.settings import ServerSettings

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Headers = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]


class Guard:
    """The checks, for one server's settings."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        # Cookies of one host are shared by all its ports: the name keeps two servers on one machine apart.
        self._cookie = f"prefect_datagen_{settings.port}"
        self._token = settings.token.encode() if settings.token is not None else None
        # The cookie holds a digest, so that a leaked cookie jar does not hold the token itself.
        self._session = hashlib.sha256(b"prefect-datagen session\0" + (self._token or b"")).hexdigest().encode()

    def host_is_ours(self, scope: Scope) -> bool:
        """Whether the request was meant for this server."""
        host = header(scope, b"host")
        return host is not None and self._settings.accepts_host(host)

    def is_own_page(self, scope: Scope) -> bool:
        """Whether a request that changes something comes from this server's page, or from no browser at all."""
        origin = header(scope, b"origin")
        site = header(scope, b"sec-fetch-site")
        return (site in {None, "same-origin", "none"}) and (
            origin is None or origin.partition("://")[2] == header(scope, b"host")
        )

    def is_known(self, scope: Scope) -> bool:
        """Whether the client has shown the token, where one is needed."""
        if self._token is None:
            return True
        scheme, _, credentials = (header(scope, b"authorization") or "").partition(" ")
        if scheme.lower() == "bearer" and self.accepts_token(credentials.strip()):
            return True
        return hmac.compare_digest(self._cookie_value(scope).encode(), self._session)

    def accepts_token(self, token: str) -> bool:
        """Whether this is the token."""
        return self._token is None or hmac.compare_digest(token.encode(), self._token)

    def login_cookie(self) -> tuple[bytes, bytes]:
        """The header that makes a browser known. It ends with the browser's session and is out of scripts' reach."""
        value = f"{self._cookie}={self._session.decode()}; Path=/; HttpOnly; SameSite=Strict"
        return (b"set-cookie", value.encode())

    def _cookie_value(self, scope: Scope) -> str:
        try:
            morsel = SimpleCookie(header(scope, b"cookie") or "").get(self._cookie)
        except CookieError:
            return ""
        return morsel.value if morsel is not None else ""
