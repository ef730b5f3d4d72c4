"""A store that speaks S3 in this process (moto), whose answers can fail."""

import threading
import urllib.request
from contextlib import contextmanager

import obstore
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from obstore.store import S3Store
from werkzeug.serving import make_server

# What the store asks for and does not check.
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00", "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests"}


class S3Server:
    """The requests that the store has had, and the faults that it is to have."""

    def __init__(self):
        self._app = DomainDispatcherApplication(create_backend_app)
        self.requests = []
        """Method, path and query of each."""
        self.failing = 0
        """Next requests that are answered by an error of the server."""
        self.refused = None
        """Part of the path of requests that are always answered so."""
        self.url = ""

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        self.requests.append((environ["REQUEST_METHOD"], path, environ["QUERY_STRING"]))
        is_refused = self.refused is not None and self.refused in path
        if self.failing > 0 or is_refused:
            self.failing -= 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status = "403 Forbidden" if is_refused else "503 Slow Down"
            start_response(status, [("Content-Length", "0")])
            return [b""]
        return self._app(environ, start_response)

    def begin(self, url):
        """Make the bucket, and forget what an earlier server of this process had."""
        for method, path in (("POST", "/moto-api/reset"), ("PUT", "/plates")):
            with urllib.request.urlopen(urllib.request.Request(url + path, method=method)):
                pass
        options = {"endpoint": url, "region": "us-east-1", "client_options": {"allow_http": True}}
        keys = {name.lower(): value for name, value in KEYS.items()}
        self._bucket = S3Store("plates", **keys, **options)
        self.url = url
        self.requests.clear()

    def put(self, key, content):
        """Write an object; this is no request of a test, and neither are the next two."""
        obstore.put(self._bucket, key, content)
        self.requests.pop()

    def remove(self, key):
        """Remove an object."""
        obstore.delete(self._bucket, key)
        self.requests.pop()

    def all_keys(self):
        """Keys of all objects."""
        found = [one["path"] for page in obstore.list(self._bucket) for one in page]
        self.requests.pop()
        return found

    def listings(self):
        """Requests that have listed objects."""
        return [query for _, _, query in self.requests if "list-type=2" in query]


@contextmanager
def s3_server():
    """Run a store with an empty bucket, ``plates``."""
    store = S3Server()
    server = make_server("127.0.0.1", 0, store, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        store.begin(f"http://127.0.0.1:{server.server_port}")
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
