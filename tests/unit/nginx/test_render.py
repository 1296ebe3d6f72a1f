"""nginx/render.sh: Nginx accepts every combination, and every mistake is one sentence."""

import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.nginx.conftest import PATH, configuration

NGINX_DIR = Path(__file__).resolve().parents[3] / "nginx"


def check(nginx_binary: str, rendered: subprocess.CompletedProcess) -> str:
    """Return the configuration if Nginx accepts it without a warning."""
    text = configuration(rendered)
    command = [nginx_binary, "-e", "stderr", "-t", "-c", rendered.stdout.strip()]
    test = subprocess.run(command, capture_output=True, text=True, check=False)
    assert test.returncode == 0, test.stderr
    assert "[warn]" not in test.stderr
    return text


@pytest.mark.parametrize(
    ("bind", "public_port", "resolve", "workers"),
    list(
        itertools.product(["127.0.0.1", "0.0.0.0", "::1", "::", "localhost"], [443, 9443], ["on", "off"], [1, "auto"])
    ),
)
def test_every_combination_is_valid(nginx_binary, render, bind, public_port, resolve, workers):
    text = check(
        nginx_binary,
        render(
            BIND_ADDRESS=bind,
            HTTPS_PORT=19444,
            HTTP_PORT=19081,
            PUBLIC_HTTPS_PORT=public_port,
            API_UPSTREAM="127.0.0.1:5000",
            UI_UPSTREAM="127.0.0.1:8501",
            UPSTREAM_RESOLVE=resolve,
            NGINX_WORKERS=workers,
        ),
    )
    assert "${" not in re.sub("(?m)^ *#.*", "", text)
    address = f"[{bind}]" if ":" in bind else bind
    assert f"listen {address}:19444 ssl" in text
    port = "" if public_port == 443 else f":{public_port}"
    assert f"return 308 https://$host{port}$request_uri;" in text


def test_paths_may_hold_spaces_and_special_characters(nginx_binary, render, certs, tmp_path):
    odd = tmp_path / "a b&c|d"
    odd.mkdir()
    for name in ("tls.crt", "tls.key"):
        (odd / name).write_bytes((certs / name).read_bytes())
    text = check(
        nginx_binary, render(API_UPSTREAM="127.0.0.1:1", UI_UPSTREAM="127.0.0.1:1", CERT_DIR=odd, RUN_DIR=odd / "run")
    )
    assert f'pid "{odd}/run/nginx.pid";' in text


def test_user_is_named_for_root_only(render):
    text = configuration(render(API_UPSTREAM="127.0.0.1:1"))
    assert bool(re.search("(?m)^user ", text)) == (os.getuid() == 0)


def fake_nginx(folder: Path, version: str) -> str:
    folder.mkdir()
    fake = folder / "nginx"
    fake.write_text(f"#!/bin/sh\necho 'nginx version: {version}' >&2\n")
    fake.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("version", "old_http2", "group_resolves"),
    [
        ("nginx/1.18.0 (Ubuntu)", True, False),
        ("nginx/1.22.1", True, False),
        ("nginx/1.25.0", True, False),
        ("nginx/1.25.1", False, False),
        ("nginx/1.26.3", False, False),
        ("nginx/1.27.2", False, False),
        ("nginx/1.27.3", False, True),
        ("nginx/1.28.0", False, True),
        ("nginx/2.0.0", False, True),
        ("openresty/1.27.1.2", False, False),
    ],
)
def test_syntax_follows_the_version(render, tmp_path, version, old_http2, group_resolves):
    text = configuration(render(path=fake_nginx(tmp_path / "bin", version), UPSTREAM_RESOLVE="on"))
    assert (" ssl http2;" in text) == old_http2
    assert ("http2 on;" in text) == (not old_http2)
    assert ("server flask-api:5000 resolve max_fails=0;" in text) == group_resolves
    assert ("default flask_api;" in text) == group_resolves
    assert ("default flask-api:5000;" in text) == (not group_resolves)
    assert "resolver " in text


def test_static_group_needs_no_resolver(render):
    text = configuration(render())
    assert "server flask-api:5000 max_fails=0;" in text
    assert not re.search("(?m)^ *resolver ", text)


def test_static_server_is_tried_twelve_times(render):
    """One more try may meet the same dying pod behind a ClusterIP: four times, then eight without kept connections."""
    text = configuration(render())
    assert text.count("server flask-api:5000 max_fails=0;") == 4 + 8
    assert "proxy_next_upstream_tries 8;" in text


@pytest.mark.parametrize(("version", "known"), [("nginx/1.18.0 (Ubuntu)", False), ("nginx/1.22.1", True)])
def test_kept_connections_are_renewed_where_nginx_can(render, tmp_path, version, known):
    text = configuration(render(path=fake_nginx(tmp_path / "bin", version)))
    assert ("keepalive_time 30s;" in text) == known


TRACKS = [
    {"CANARY_PERCENT": 1},
    {"CANARY_PERCENT": 100, "CANARY_UPSTREAM": "127.0.0.1:2"},
    {"SHADOW_UPSTREAM": "127.0.0.1:3"},
    {"CANARY_PERCENT": 50, "SHADOW_UPSTREAM": "127.0.0.1:3"},
    {"EDGE_PORT": 19082},
    {"EDGE_PORT": 19082, "TRUSTED_PROXIES": "10.0.0.0/8 fd00::/8", "CANARY_PERCENT": 5, "RATE_LIMIT": 5},
]


@pytest.mark.parametrize("resolve", ["on", "off"])
@pytest.mark.parametrize("variables", TRACKS)
def test_tracks_and_edge_are_valid(nginx_binary, render, resolve, variables):
    upstreams = {"API_UPSTREAM": "127.0.0.1:1", "UI_UPSTREAM": "127.0.0.1:1", "CANARY_UPSTREAM": "127.0.0.1:2"}
    check(nginx_binary, render(UPSTREAM_RESOLVE=resolve, **(upstreams | variables)))


def test_without_canary_and_shadow_neither_is_looked_up(render):
    text = configuration(render(CANARY_PERCENT=0))
    assert "flask-api-canary" not in text
    assert "shadow.sock" not in text and "mirror" not in text
    assert "real_ip" not in text


def test_a_feature_that_is_switched_off_leaves_nothing_behind(render):
    assert "split_clients" in configuration(render(CANARY_PERCENT=5, SHADOW_UPSTREAM="127.0.0.1:3"))
    text = configuration(render())
    assert "split_clients" not in text and "shadow.sock" not in text


def test_every_template_belongs_to_a_feature(render, tmp_path):
    """render.sh renders the files of the features that it knows by name."""
    everything = {"CANARY_PERCENT": 5, "SHADOW_UPSTREAM": "a:1", "EDGE_PORT": 1, "TRUSTED_PROXIES": "10.0.0.0/8"}
    limits = {"RATE_LIMIT": 1, "CONNECTION_LIMIT": 1, "UPSTREAM_RESOLVE": "on", "UI_UPSTREAM": "localhost:1"}
    rendered = set()
    for version in ("1.27.2", "1.28.0"):
        configuration(render(path=fake_nginx(tmp_path / version, f"nginx/{version}"), **everything, **limits))
        rendered |= {f"{path.name}.template" for path in (tmp_path / "run/conf.d").iterdir()}
    assert rendered == {path.name for path in (NGINX_DIR / "conf.d").iterdir()}


def test_an_unknown_variable_replaces_nothing(certs, tmp_path):
    copy = shutil.copytree(NGINX_DIR, tmp_path / "nginx")
    (copy / "conf.d/problems.http.conf.template").write_text("# ${NO_SUCH_VARIABLE}\n")
    environment = {"PATH": PATH, "CERT_DIR": str(certs), "RUN_DIR": str(tmp_path / "run")}
    run = subprocess.run(["sh", copy / "render.sh"], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "has the unknown variable NO_SUCH_VARIABLE." in run.stderr
    assert not (tmp_path / "run/nginx.conf").exists()


@pytest.mark.parametrize(
    ("version", "known"),
    [("nginx/1.22.1", False), ("nginx/1.27.3", False), ("nginx/1.27.4", True), ("nginx/1.28.0", True)],
)
def test_idle_connections_outlive_the_order_to_stop_where_nginx_can(render, tmp_path, version, known):
    text = configuration(render(path=fake_nginx(tmp_path / "bin", version)))
    assert ("keepalive_min_timeout 10s;" in text) == known


LIMITS = [
    ({}, []),
    ({"RATE_LIMIT": "", "RATE_BURST": "", "CONNECTION_LIMIT": ""}, []),
    ({"RATE_LIMIT": 20}, ["rate=20r/s;", "limit_req zone=api_rate burst=20 nodelay;"]),
    ({"RATE_LIMIT": 20, "RATE_BURST": 3}, ["rate=20r/s;", "limit_req zone=api_rate burst=3 nodelay;"]),
    ({"RATE_LIMIT": 20, "RATE_BURST": 0}, ["rate=20r/s;", "limit_req zone=api_rate;"]),
    ({"API_KEYS": "a:b", "API_KEYS_FILE": "/keys"}, []),
    ({"CONNECTION_LIMIT": 7}, ["limit_conn api_connections 7;"]),
    (
        {"RATE_LIMIT": 5, "CONNECTION_LIMIT": 7, "API_KEYS": "a:b"},
        ["rate=5r/s;", "limit_conn api_connections 7;", "$http_x_api_key|$http_authorization"],
    ),
]


@pytest.mark.parametrize("resolve", ["off", "on"])
@pytest.mark.parametrize(("variables", "directives"), LIMITS)
def test_limits_are_rendered_when_set(nginx_binary, render, tmp_path, resolve, variables, directives):
    upstreams = {"API_UPSTREAM": "127.0.0.1:1", "UI_UPSTREAM": "127.0.0.1:1"}
    text = check(nginx_binary, render(UPSTREAM_RESOLVE=resolve, **upstreams, **variables))
    for directive in directives:
        assert directive in text
    assert ("zone=api_rate" in text) == ("RATE_LIMIT" in variables and variables["RATE_LIMIT"] != "")
    assert ("api_connections" in text) == (variables.get("CONNECTION_LIMIT", "") != "")
    assert ('map "$http_x_api_key|' in text) == ({"API_KEYS", "RATE_LIMIT"} <= variables.keys())


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"HTTPS_PORT": "https"}, "HTTPS_PORT is 'https', but must be a port: a number from 1 to 65535."),
        ({"HTTP_PORT": "0"}, "HTTP_PORT is '0', but must be a port: a number from 1 to 65535."),
        ({"PUBLIC_HTTPS_PORT": "65536"}, "PUBLIC_HTTPS_PORT is '65536', but must be a port: a number from 1 to 65535."),
        ({"HTTPS_PORT": "8080"}, "HTTPS_PORT and HTTP_PORT are both 8080, but must differ."),
        ({"API_UPSTREAM": "flask-api"}, "API_UPSTREAM is 'flask-api', but must be host:port, like flask-api:5000."),
        ({"API_UPSTREAM": "a:b"}, "API_UPSTREAM is 'a:b', but must be host:port, like flask-api:5000."),
        ({"UI_UPSTREAM": "a;b:1"}, "UI_UPSTREAM is 'a;b:1', but must be host:port, like flask-api:5000."),
        (
            {"UI_UPSTREAM": "a:99999"},
            "the port of UI_UPSTREAM is '99999', but must be a port: a number from 1 to 65535.",
        ),
        ({"UPSTREAM_RESOLVE": "yes"}, "UPSTREAM_RESOLVE is 'yes', but must be on or off."),
        ({"MAX_BODY_BYTES": "1m"}, "MAX_BODY_BYTES is '1m', but must be a whole number above 0."),
        # 0 would switch Nginx's limit off.
        ({"MAX_BODY_BYTES": "0"}, "MAX_BODY_BYTES is '0', but must be a whole number above 0."),
        ({"RATE_LIMIT": "20r/s"}, "RATE_LIMIT is '20r/s', but must be a whole number above 0."),
        ({"RATE_LIMIT": "20", "RATE_BURST": "-1"}, "RATE_BURST is '-1', but must be a whole number above 0."),
        ({"RATE_BURST": "5"}, "RATE_BURST is '5', but there is no RATE_LIMIT: set that as well."),
        ({"CONNECTION_LIMIT": "0"}, "CONNECTION_LIMIT is '0', but must be a whole number above 0."),
        ({"NGINX_WORKERS": "many"}, "NGINX_WORKERS is 'many', but must be a whole number above 0."),
        ({"BIND_ADDRESS": "a b"}, "BIND_ADDRESS is 'a b', but must be an address such as 127.0.0.1, 0.0.0.0 or ::1."),
        ({"CANARY_PERCENT": "5%"}, "CANARY_PERCENT is '5%', but must be a whole number from 0 to 100."),
        ({"CANARY_PERCENT": "101"}, "CANARY_PERCENT is '101', but must be a whole number from 0 to 100."),
        ({"CANARY_UPSTREAM": "canary"}, "CANARY_UPSTREAM is 'canary', but must be host:port, like flask-api:5000."),
        ({"SHADOW_UPSTREAM": "a"}, "SHADOW_UPSTREAM is 'a', but must be host:port, like flask-api:5000."),
        ({"EDGE_PORT": "8443"}, "EDGE_PORT is 8443, but must differ from HTTPS_PORT and HTTP_PORT."),
        (
            {"TRUSTED_PROXIES": "10.0.0.0/8;"},
            "TRUSTED_PROXIES is '10.0.0.0/8;', but must be networks such as 10.0.0.0/8, separated by spaces.",
        ),
        ({"CERT_DIR": "certs"}, "CERT_DIR is 'certs', but must be an absolute path."),
        ({"RUN_DIR": "/tmp/a$b"}, "RUN_DIR is '/tmp/a$b', but Nginx cannot use a path with"),
        ({"RUN_DIR": "/tmp/a[b]"}, "RUN_DIR is '/tmp/a[b]', but Nginx cannot use a path with"),
        ({"RUN_DIR": "/dev/null/x"}, "RUN_DIR /dev/null/x cannot be written: set RUN_DIR to a folder that can."),
        ({"CERT_DIR": "/nowhere"}, "there is no readable /nowhere/tls.crt: put a certificate there, or make one with"),
    ],
)
def test_a_mistake_is_one_sentence(render, variables, sentence):
    rendered = render(**variables)
    assert rendered.returncode == 1
    assert rendered.stdout == ""
    last = rendered.stderr.strip().splitlines()[-1]
    assert last.startswith(f"nginx/render.sh: {sentence}"), rendered.stderr


def test_missing_nginx_is_one_sentence(certs, tmp_path):
    # A copy without the folders in which this machine may have Nginx.
    source = (NGINX_DIR / "render.sh").read_text()
    script = tmp_path / "render.sh"
    script.write_text(source.replace("PATH=$PATH:/usr/sbin:/usr/local/sbin\n", ""))
    assert script.read_text() != source
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "dirname"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    run = subprocess.run(
        ["sh", script],
        env={"PATH": str(tmp_path / "bin"), "CERT_DIR": str(certs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr == "nginx/render.sh: nginx is not installed: apt install nginx-light, or brew install nginx.\n"
