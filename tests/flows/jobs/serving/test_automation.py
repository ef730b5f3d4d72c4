"""The automation of the guide fires when a run leaves images out."""

import http.server
import os
import re
import threading
import time
from pathlib import Path

import pytest

from glassplate.flows.server.server import start_server, stop_server, wait_for_server

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

GUIDE = Path(__file__).parents[4] / "docs" / "bulk.md"
PATIENCE_S = 240


@pytest.fixture
def server_with_services(prefect_server, monkeypatch):
    """A server whose services run, beside that of the session, on the same database."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    log = Path(os.environ["PREFECT_HOME"], "services-server.log")
    process, url = start_server(log, services=True)
    try:
        wait_for_server(process, url, log)
        monkeypatch.setenv("PREFECT_API_URL", url)
        with temporary_settings({PREFECT_API_URL: url}):
            yield
    finally:
        stop_server(process)


@pytest.fixture
def hook():
    """A web hook on this machine, and the bodies of the requests to it."""
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", bodies
        server.shutdown()


def automation_of_the_guide(block):
    """The automation in docs/bulk.md, with the id of a block that exists."""
    (code,) = re.findall(
        r"```python\n(from prefect\.automations.*?)```", GUIDE.read_text(), re.DOTALL
    )
    names = {}
    exec(code.replace("00000000-0000-0000-0000-000000000000", str(block)), names)
    return names["automation"]


def test_a_partial_run_calls_the_web_hook(
    server_with_services, hook, gp_process, make_sky, tmp_path, monkeypatch
):
    from prefect.blocks.webhook import Webhook

    url, bodies = hook
    block = Webhook(url=url, allow_private_urls=True).save("glassplate-test")
    automation = automation_of_the_guide(block).create()
    try:
        make_sky(tmp_path / "good.fits")
        (tmp_path / "bad.fits").write_text("no FITS\n" * 400)
        job = tmp_path / "job.yaml"
        job.write_text("inputs: '*.fits'\noutput: out\nrecipe: identity\npool: inline\n")
        run = gp_process("batch", job)
        assert run.code == 3, run
        deadline = time.monotonic() + PATIENCE_S
        while not bodies and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(bodies) == 1
        assert "2 images: 1 restored, 1 quarantined" in bodies[0]
    finally:
        automation.delete()
