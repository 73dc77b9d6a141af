"""What stands before every request: host, token, foreign pages, headers, paths."""

from __future__ import annotations

from typing import Any

import pytest

TOKEN = "a-long-enough-token"


@pytest.fixture(scope="module")
def server(module_serve: Any, module_dataset: Any) -> Any:
    return module_serve(module_dataset(row_groups=1).path)


def test_requests_for_another_host_are_refused(server: Any) -> None:
    """Against DNS rebinding, for every path."""
    for path in ("/", "/api/health", "/api/rows"):
        refused = server.get(path, Host="evil.example")
        assert (refused.status, refused.error["code"]) == (421, "wrong host")
    assert server.get("/api/health", Host=f"localhost:{server.port}").status == 200


def test_a_page_of_another_site_cannot_make_the_server_do_anything(server: Any) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert server.request("POST", "/api/reload", headers=headers).error["code"] == "foreign page"
    own = {"Origin": f"http://127.0.0.1:{server.port}", "Sec-Fetch-Site": "same-origin"}
    assert server.request("POST", "/api/reload", headers=own).status == 202


def test_every_answer_carries_the_security_headers(server: Any) -> None:
    server.wait_ready()
    for path in ("/", "/static/app.js", "/api/health", "/api/rows", "/api/nothing", "/nothing"):
        headers = server.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../settings.py",
        "/static/..%2fsettings.py",
        "/static/%2e%2e/settings.py",
        "/../../etc/passwd",
        "//etc/passwd",
        "/static/",
        "/api/assets/..%2f..%2freport.js",
        "/api/report/..%2foverview/stream",
    ],
)
def test_no_path_leads_to_a_file(server: Any, path: str) -> None:
    answer = server.get(path)
    assert answer.status == 404
    assert answer.error["code"] == "not found"


def test_static_files_are_not_sent_again_when_they_are_the_same(server: Any) -> None:
    first = server.get("/static/app.css")
    assert first.status == 200
    again = server.get("/static/app.css", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")


def test_errors_have_one_shape(server: Any) -> None:
    for method, path, status in [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/rows?limit=many", 400),
        ("GET", "/api/rows?table=secrets", 400),
        ("GET", "/api/rows?dataset=base", 404),
        ("GET", "/api/report/nothing/stream", 404),
        ("POST", "/api/rows", 405),
        ("PUT", "/api/rows", 405),
    ]:
        answer = server.request(method, path)
        assert answer.status == status, (method, path, answer.body)
        assert set(answer.json) == {"error"}
        assert set(answer.json["error"]) == {"code", "message"}


@pytest.fixture(scope="module")
def guarded(module_serve: Any, module_dataset: Any) -> Any:
    """A server with a token."""
    return module_serve(module_dataset("secret", row_groups=1).path, environment={"PREFECT_DATAGEN_TOKEN": TOKEN})


class TestToken:
    """The token of a server that has one."""

    def test_is_printed_where_no_browser_sends_it(self, guarded: Any) -> None:
        assert guarded.url.endswith(f"/#token={TOKEN}")

    def test_is_needed_for_data_and_not_for_health_and_the_page(self, guarded: Any) -> None:
        assert guarded.get("/api/health").status == 200
        assert guarded.get("/").status == 200
        for path in ("/api/ready", "/api/events", "/api/rows", "/api/statistics", "/api/openapi.json"):
            refused = guarded.get(path)
            assert (refused.status, refused.error["code"]) == (401, "token needed")
        assert guarded.request("POST", "/api/reload").status == 401

    def test_opens_as_bearer(self, guarded: Any) -> None:
        assert guarded.get("/api/rows", Authorization=f"Bearer {TOKEN}").status == 200
        for wrong in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer", "Bearer ", TOKEN):
            assert guarded.get("/api/rows", Authorization=wrong).status == 401

    def test_is_exchanged_for_a_cookie_that_scripts_cannot_read(self, guarded: Any) -> None:
        known = guarded.request("POST", "/api/login", body=b'{"token": "%s"}' % TOKEN.encode())
        assert known.status == 200
        cookie, *attributes = known.headers["set-cookie"].split("; ")
        assert {"HttpOnly", "SameSite=Strict"} <= set(attributes)
        assert TOKEN not in cookie
        assert guarded.get("/api/rows", Cookie=cookie).status == 200
        assert guarded.get("/api/rows", Cookie=cookie[:-1]).status == 401

    @pytest.mark.parametrize(
        "body", [b"", b"{}", b"[]", b"\xff", b'{"token": null}', b'{"token": "wrong"}', b'{"token": "' + b"x" * 5000]
    )
    def test_a_wrong_login_is_refused(self, guarded: Any, body: bytes) -> None:
        refused = guarded.request("POST", "/api/login", body=body)
        assert (refused.status, refused.error["code"]) == (401, "wrong token")
        assert "set-cookie" not in refused.headers
