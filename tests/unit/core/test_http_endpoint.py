"""Where HTTP connections lead; their secrets show nowhere."""

import pytest

from crossfade.cli import http_from_environment
from crossfade.errors import PreconditionError
from crossfade.http_endpoint import HttpEndpoint, HttpMisdeclared, NoHttpHere, no_http


def test_a_url_with_a_login_is_taken_apart() -> None:
    found = HttpEndpoint.from_text("page", "https://bot:s%40cret@example.org:8443/api/")
    assert (found.base_url, found.user, found.password) == ("https://example.org:8443/api/", "bot", "s@cret")
    assert found.url("/on") == "https://example.org:8443/api/on"
    assert "s@cret" not in repr(found)


def test_an_address_of_ipv6_keeps_its_brackets() -> None:
    assert HttpEndpoint.from_text("page", "http://[::1]:80").url("/on") == "http://[::1]:80/on"


def test_headers_come_as_json() -> None:
    found = HttpEndpoint.from_text("page", '{"url": "https://example.org", "headers": {"Authorization": "Bearer x"}}')
    assert found.headers == {"Authorization": "Bearer x"}
    assert "Bearer" not in repr(found)


@pytest.mark.parametrize(
    "text",
    ["example.org", "ftp://u:s3cret@example.org", "https://", "https://u:s3cret@h:port", '{"s3cret', '{"headers": {}}'],
)
def test_what_leads_nowhere_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(HttpMisdeclared, match="'page'") as caught:
        HttpEndpoint.from_text("page", text)
    assert "s3cret" not in str(caught.value)


def test_the_command_takes_it_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PreconditionError, match="CROSSFADE_HTTP_STATUS_PAGE"):
        http_from_environment("status_page")
    monkeypatch.setenv("CROSSFADE_HTTP_STATUS_PAGE", "https://example.org")
    assert http_from_environment("status_page").base_url == "https://example.org"


def test_without_connections_the_one_that_is_missing_is_named() -> None:
    with pytest.raises(NoHttpHere, match="'page'"):
        no_http("page")
