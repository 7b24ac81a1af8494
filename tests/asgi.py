"""Sends requests to an application in this process, without a port, from any thread."""

import asyncio
import json
import threading
from contextlib import contextmanager


class Client:
    """Calls an ASGI application in an event loop of another thread."""

    def __init__(self, app):
        self.app = app
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def start(self, method, path, body=b"", type_="application/json", pieces=1, headers=()):
        """Send a request, its body in pieces; return the future of (status, headers, content)."""
        return asyncio.run_coroutine_threadsafe(
            self._exchange(method, path, body or b"", type_, pieces, headers), self.loop
        )

    def __call__(self, *request, **more):
        """Send a request; return status, headers, and content: JSON is decoded."""
        status, headers, content = self.start(*request, **more).result(60)
        is_json = headers.get("content-type", "").startswith("application/json")
        return status, headers, json.loads(content) if is_json else content.decode()

    async def _exchange(self, method, path, body, type_, pieces, headers):
        size = -(-len(body) // pieces) or 1
        parts = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
        sent, status, received = iter(parts), None, {}
        content = b""

        async def receive():
            part = next(sent, None)
            if part is None:
                return {"type": "http.disconnect"}
            more = part is not parts[-1] or type_ == "endless"
            return {"type": "http.request", "body": part, "more_body": more}

        async def send(message):
            nonlocal status, received, content
            if message["type"] == "http.response.start":
                status = message["status"]
                received = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                content += message.get("body", b"")

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"content-type", type_.encode("latin-1")), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await self.app(scope, receive, send)
        return status, received, content

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@contextmanager
def client(app):
    """Give a client, whose application is shut down at the end."""
    made = Client(app)
    started = app.router.lifespan_context(app)
    asyncio.run_coroutine_threadsafe(started.__aenter__(), made.loop).result(60)
    try:
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(started.__aexit__(None, None, None), made.loop).result(60)
        made.close()
