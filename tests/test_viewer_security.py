"""Attacks on the viewer: host names, origins, tokens, paths, sizes, markup."""

import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from results_samples import make_run
from viewer_client import HERE, PORT, Client
from viewer_samples import GROUP, MARKUP, RUN, make_log

from model_aggregation.viewer.app import create_app
from model_aggregation.viewer.reading import LogReader
from model_aggregation.viewer.security import LARGEST_BODY_BYTES, Door


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return make_log(tmp_path_factory.mktemp("security"))


@pytest.fixture(scope="module")
def ask(log, tmp_path_factory):
    return Client(
        create_app(LogReader(log, cache_folder=tmp_path_factory.mktemp("cache")), door=Door("127.0.0.1", PORT))
    )


@pytest.fixture(scope="module")
def ask_with_token(log, tmp_path_factory):
    door = Door("192.0.2.7", PORT, "right-token")
    return Client(create_app(LogReader(log, cache_folder=tmp_path_factory.mktemp("cache")), door=door))


@pytest.mark.parametrize("host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"[::1]:{PORT}", f"LOCALHOST:{PORT}"])
def test_own_names_are_answered(ask, host):
    assert ask("/", host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:80", f"127.0.0.1.evil.example:{PORT}", "", "[",
     f"x@127.0.0.1:{PORT}", f"192.0.2.1:{PORT}"],
)  # fmt: skip
def test_foreign_names_are_refused(ask, host):
    """DNS rebinding: a foreign name that leads to this machine."""
    assert ask("/", host=host).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"http://127.0.0.1:{PORT + 1}"},
        {"origin": f"https://127.0.0.1:{PORT}"},
        {"origin": HERE, "sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
    ],
)
@pytest.mark.parametrize("path", ["/_dash-update-component", "/open"])
def test_posts_of_other_sites_are_refused(ask, headers, path):
    assert ask(path, method="POST", content=b"{}", content_type="application/json", **headers).status_code == 403


def test_own_posts_reach_their_function(ask):
    opening = {"group": GROUP, "run": "nothing", "set_name": "test", "index": 0, "what": "image"}
    answer = ask("/open", method="POST", content=json.dumps(opening), content_type="application/json", origin=HERE)
    assert answer.status_code == 404


def test_other_sites_link_here_but_build_nothing_in(ask):
    assert ask("/", sec_fetch_site="cross-site", sec_fetch_mode="navigate").status_code == 200
    assert ask("/api/groups", sec_fetch_site="cross-site", sec_fetch_mode="no-cors").status_code == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(ask, method):
    answer = ask("/", method=method, origin="http://evil.example", access_control_request_method="POST")
    assert answer.status_code == 405
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_opening_needs_a_viewer_and_a_visitor_on_this_machine(log, ask_with_token, tmp_path):
    opening = json.dumps({"group": GROUP, "run": RUN, "set_name": "test", "index": 0, "what": "folder"})
    given = {"method": "POST", "content": opening, "content_type": "application/json", "origin": HERE}
    away = Client(
        create_app(LogReader(log, cache_folder=tmp_path), door=Door("127.0.0.1", PORT)), client_host="192.0.2.9"
    )
    assert away("/open", **given).status_code == 403
    cookie = f"magg_token_{PORT}=right-token"
    assert ask_with_token("/open", cookie=cookie, **given).status_code == 403


def test_nothing_without_the_token(ask_with_token):
    for path in ("/", "/api/groups", "/_dash-layout", "/?token=wrong", "/?token=", "/?token=%FF", "/assets/viewer.js"):
        answer = ask_with_token(path)
        assert answer.status_code == 401, path
        assert "right-token" not in answer.text
    assert ask_with_token("/", cookie=f"magg_token_{PORT}=wrong").status_code == 401


def test_the_token_becomes_a_cookie_and_leaves_the_address(ask_with_token):
    answer = ask_with_token(f"/group/{quote(GROUP)}?token=right-token&runs=%22%3E%3Cb%3E")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert f'url=/group/{quote(GROUP)}?runs=%22%3E%3Cb%3E"' in answer.text
    assert "right-token" not in answer.text
    assert ask_with_token("/api/groups", cookie=cookie.split(";")[0]).status_code == 200


def test_the_token_opens_no_way_to_other_sites(ask_with_token):
    answer = ask_with_token("//evil.example/?token=right-token")
    assert "url=/evil.example/" in answer.text


@pytest.mark.parametrize(
    ("host", "token"),
    [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True), ("192.0.2.7", True)]
)  # fmt: skip
def test_other_addresses_than_loopback_get_a_token(host, token):
    door = Door.at(host, PORT)
    assert (door.token is not None) == token
    assert not token or len(door.token) >= 40


def test_headers_on_every_answer(ask):
    for path in ("/", "/nothing/here", "/api/groups", "/assets/viewer.js", "/assets/../app.py"):
        headers = ask(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        script = next(rule for rule in policy.split("; ") if rule.startswith("script-src"))
        assert "unsafe" not in script
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] in ("no-store", "private, no-cache")


def test_too_large_a_request_is_refused(ask):
    content = b" " * (LARGEST_BODY_BYTES + 1)
    assert ask("/_dash-update-component", method="POST", content=content, origin=HERE).status_code == 413


CLIMBING = (
    "../../../../../../../../etc/passwd", "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "%252e%252e%252f%252e%252e%252fetc%252fpasswd", "/etc/passwd", "%2fetc%2fpasswd", "..\\..\\..\\etc\\passwd",
    "..%5c..%5cetc%5cpasswd", "....//....//etc/passwd", "%c0%ae%c0%ae/etc/passwd", "%00", "environment.json%00.png",
    "C:%5CWindows%5Cwin.ini", "..%2fanalyze_record.db", ".%2f..%2f..%2fanalyze_record.db", "%uff0e%uff0e/etc/passwd",
    "-", ".", "..",
)  # fmt: skip


@pytest.mark.parametrize("climbing", CLIMBING)
def test_no_other_file_is_read(ask, climbing):
    run, group = quote(RUN), quote(GROUP)
    paths = [
        f"/file/{group}/{run}/{climbing}",
        f"/file/{climbing}/{run}/environment.json",
        f"/file/{group}/{climbing}/x",
    ]
    paths += [f"/image/{group}/{run}/test/{climbing}", f"/image/{group}/{run}/{climbing}/0", f"/assets/{climbing}"]
    paths += [f"/_dash-component-suites/dash/{climbing}", f"/{climbing}"]
    for path in paths:
        answer = ask(path)
        assert "root:" not in answer.text, path
        assert b"SQLite format" not in answer.content, path
        assert answer.status_code in (307, 400, 404, 422) or "react-entry-point" in answer.text, (
            path,
            answer.text[:200],
        )


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_lead_nowhere(tmp_path):
    log = make_log(tmp_path)
    ask = Client(create_app(LogReader(log, cache_folder=tmp_path / "cache"), door=Door("127.0.0.1", PORT)))
    secret = tmp_path / "secret.txt"
    secret.write_text("root:secret", encoding="utf-8")
    (log / GROUP / RUN / "linked.txt").symlink_to(secret)
    (log / GROUP / RUN / "models").symlink_to(tmp_path)
    for name in ("linked.txt", "models/secret.txt"):
        answer = ask(f"/file/{quote(GROUP)}/{quote(RUN)}/{name}")
        assert answer.status_code == 404, name
        assert "secret" not in answer.text


def test_files_that_could_hold_scripts_are_downloaded(log, ask):
    folder = log / GROUP / RUN
    for name in ("report.html", "figure.svg"):
        (folder / name).write_text("<script>alert(1)</script>", encoding="utf-8")
        answer = ask(f"/file/{quote(GROUP)}/{quote(RUN)}/{name}")
        if answer.status_code == 200:
            assert answer.headers["content-disposition"].startswith("attachment")
            assert answer.headers["content-type"] == "application/octet-stream"
    shown = ask(f"/file/{quote(GROUP)}/{quote(RUN)}/environment.json")
    assert shown.status_code == 200
    assert shown.headers["content-disposition"].startswith("attachment")


def test_images_come_with_a_tag_and_are_not_sent_twice(ask):
    path = f"/image/{quote(GROUP)}/{quote(RUN)}/test/0?size=64"
    answer = ask(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/webp"
    assert ask(path, if_none_match=answer.headers["etag"]).status_code == 304
    for wrong in ("1000000", "-1", "x", "0?size=1", "0?size=100000"):
        assert ask(f"/image/{quote(GROUP)}/{quote(RUN)}/test/{wrong}").status_code in (404, 422)


def test_names_with_markup_stay_text(ask):
    for path in ("/api", "/api/groups/single/runs", f"/group/{quote(MARKUP)}", f"/?text={quote(MARKUP)}"):
        answer = ask(path)
        if "json" not in answer.headers["content-type"]:
            assert MARKUP not in answer.text, path


def test_no_program_is_started_through_a_shell():
    source = (Path(create_app.__globals__["__file__"]).parent / "routes.py").read_text(encoding="utf-8")
    assert "shell=True" not in source
    assert "os.system" not in source


def log_with_link(folder: Path, linked: str) -> Path:
    """Return a log folder in which something links to another one beside it."""
    log, outside = make_log(folder / "inside"), make_log(folder / "outside")
    secret = outside / GROUP / RUN
    (secret / f"{RUN}_status.txt").write_text("secret status", encoding="utf-8")
    if linked == "run":
        (log / GROUP / "linked").symlink_to(secret)
    elif linked == "group":
        (log / "linked").symlink_to(outside / GROUP)
    else:
        (log / GROUP / "linked").mkdir()
        for path in secret.iterdir():
            (log / GROUP / "linked" / path.name.replace(RUN, "linked")).symlink_to(path)
    return log


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("linked", ["run", "group", "files"])
def test_nothing_behind_a_link_out_of_the_log_folder_is_shown(tmp_path, linked):
    log = log_with_link(tmp_path, linked)
    ask = Client(create_app(LogReader(log, cache_folder=tmp_path / "cache"), door=Door("127.0.0.1", PORT)))
    group, run = ("linked", RUN) if linked == "group" else (GROUP, "linked")
    place = f"{quote(group)}/{quote(run)}"
    names = ("environment.json", "linked_status.txt", f"{RUN}_status.txt", "metrics.json", "linked_test.csv")
    paths = [f"/file/{place}/{quote(name)}" for name in names]
    paths += [f"/image/{place}/{set_name}/0" for set_name in ("test", "-", "val")]
    for path in paths:
        answer = ask(path)
        assert answer.status_code == 404, path
        assert "secret" not in answer.text
    for end in ("", "/metrics", "/sets/test/predictions", "/sets/test/images"):
        answer = ask(f"/api/groups/{quote(group)}/runs/{quote(run)}{end}")
        content = answer.json()
        assert answer.status_code == 404 or not (content.get("status") or content.get("rows") or content.get("test")), (
            end,
            answer.text[:300],
        )
        assert "secret" not in answer.text
    for page in (f"run/{place}", f"data/{place}", f"images/{place}"):
        assert "secret" not in callback(ask, f"/{page}"), page


def callback(ask, pathname: str, search: str = "") -> str:
    """Ask for a page as the application in the browser does."""
    outputs = [("page", "children"), ("breadcrumbs", "children"), ("page-title", "data")]
    body = {
        "output": f"..{'...'.join(f'{name}.{prop}' for name, prop in outputs)}..",
        "outputs": [{"id": name, "property": prop} for name, prop in outputs],
        "inputs": [
            {"id": "address", "property": "pathname", "value": pathname},
            {"id": "address", "property": "search", "value": search},
        ],
        "changedPropIds": ["address.pathname"],
    }
    given = {"method": "POST", "content": json.dumps(body), "content_type": "application/json", "origin": HERE}
    answer = ask("/_dash-update-component", **given)
    assert answer.status_code == 200, answer.text[:500]
    return answer.text


@pytest.mark.parametrize("climbing", CLIMBING)
def test_no_page_and_no_answer_of_the_api_leads_up(ask, climbing):
    run, group = quote(RUN), quote(GROUP)
    found = [callback(ask, path, f"?set={climbing}&runs={climbing},{climbing}&class={climbing}") for path in (
        f"/run/{group}/{climbing}", f"/run/{climbing}/{run}", f"/images/{group}/{climbing}",
        f"/data/{group}/{climbing}", f"/data/{climbing}", f"/group/{climbing}", f"/compare/{climbing}",
        f"/images/{group}/{run}", f"/compare/{group}", f"/run/{group}/{run}",
    )]  # fmt: skip
    for path in (
        f"/api/groups/{climbing}/runs", f"/api/groups/{group}/runs/{climbing}", f"/api/groups/{climbing}/runs/{run}",
        f"/api/groups/{group}/runs/{climbing}/metrics", f"/api/groups/{group}/runs/{run}/sets/{climbing}/predictions",
        f"/api/groups/{group}/runs/{run}/sets/{climbing}/images",
    ):  # fmt: skip
        answer = ask(path)
        assert answer.status_code in (200, 307, 404, 405, 422), path
        found.append(answer.text)
    for text in found:
        assert "root:" not in text
        assert "SQLite format" not in text
        assert "unexpected error" not in text


NAMES = ("plain.png", "a b  c.png", "胸部 １.png", 'it\'s "odd" & $(touch x) `y`.png', "-rf.png", "%2e;|.png")


@pytest.fixture
def opener(tmp_path, monkeypatch):
    """A program xdg-open that writes down what it is given, each word on a line of its own."""
    program, answer = tmp_path / "bin" / "xdg-open", tmp_path / "opened"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{answer}.new" && mv "{answer}.new" "{answer}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    def given() -> list[str]:
        for _ in range(400):
            if answer.exists():
                words = answer.read_text(encoding="utf-8").splitlines()
                answer.unlink()
                return words
            time.sleep(0.02)
        raise AssertionError("no program was opened")

    return given


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no xdg-open")
def test_image_and_folder_are_opened_by_the_program_of_this_machine(opener, tmp_path):
    log, images = tmp_path / "log", tmp_path / "my images"
    folder = make_run(log / "g" / "g_a")
    table = folder.read_predictions().head(len(NAMES)).assign(path=[str(images / name) for name in NAMES])
    table.loc[1::2, "correct_label"], table.loc[::2, "correct_label"] = "dog", "cat"
    folder.write_predictions("test", table, predicted=list(table["correct_label"]))
    images.mkdir()
    for name in NAMES:
        (images / name).write_bytes(b"")
    app = create_app(LogReader(log, cache_folder=tmp_path / "cache"), door=Door("127.0.0.1", PORT))
    wanted = {"group": "g", "run": "g_a", "set_name": "test"}
    words = {"method": "POST", "content_type": "application/json", "origin": HERE}
    for index, name in enumerate(NAMES):
        for what, path in (("image", images / name), ("folder", images)):
            body = json.dumps({**wanted, "index": index, "what": what})
            assert Client(app)("/open", content=body, **words).status_code == 204
            assert opener() == [str(path)]
    body = json.dumps({**wanted, "index": 0, "what": "image"})
    assert Client(app, client_host="192.0.2.9")("/open", content=body, **words).status_code == 403
    (images / NAMES[0]).unlink()
    gone = Client(app)("/open", content=body, accept_language="ja", **words)
    assert (gone.status_code, gone.json()["detail"]) == (404, f"{images / NAMES[0]} はもうありません。")
    assert not (tmp_path / "opened").exists()
    assert not list(tmp_path.glob("**/x"))


@pytest.mark.parametrize("name", ["setup.exe", "run.bat", "link.lnk", "page.desktop", "noend", "picture.png.sh"])
def test_what_is_no_image_is_not_opened(opener, tmp_path, name):
    """The paths come with results, perhaps from somebody else; opening a program would run it."""
    log = tmp_path / "log"
    folder = make_run(log / "g" / "g_a")
    (tmp_path / name).write_bytes(b"#!/bin/sh\n")
    table = folder.read_predictions().head(2).assign(path=str(tmp_path / name), correct_label=["cat", "dog"])
    folder.write_predictions("test", table, predicted=list(table["correct_label"]))
    app = create_app(LogReader(log, cache_folder=tmp_path / "cache"), door=Door("127.0.0.1", PORT))
    body = json.dumps({"group": "g", "run": "g_a", "set_name": "test", "index": 0, "what": "image"})
    answer = Client(app)("/open", method="POST", content=body, content_type="application/json", origin=HERE)
    assert answer.status_code == 403
    assert "is no image by its name" in answer.json()["detail"]
