"""Clients with 20 MB meet a server that has no room: busy.py http://… https://… CERT NODE busy.mjs"""
import socket
import ssl
import subprocess
import sys
from urllib.parse import urlsplit

import httpx
import openai

plain, tls, cert, node, script = sys.argv[1:]
MB20 = "data:image/png;base64," + "A" * (20 << 20)


def occupy(url):
    """Takes most of the room by a body that does not come."""
    at = urlsplit(url)
    s = socket.create_connection((at.hostname, at.port))
    if at.scheme == "https":
        s = ssl._create_unverified_context().wrap_socket(s)
    s.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n{" % (20 << 20))
    return s


def until_busy(client, url):
    for _ in range(200):
        if client.post(url + "/v1/embeddings", content=b"x" * (15 << 20)).status_code == 429:
            return
    sys.exit(f"{url} does not become busy")


held = [occupy(plain), occupy(tls)]
context = ssl.create_default_context(cafile=cert)
with httpx.Client(verify=context, timeout=60) as first:
    until_busy(first, plain)
    until_busy(first, tls)

body = b'{"input":"' + MB20.encode() + b'"}'
for name, url, http2 in [("HTTP/1.1", plain, False), ("HTTP/1.1 TLS", tls, False), ("HTTP/2 TLS", tls, True)]:
    with httpx.Client(verify=context, http2=http2, timeout=60) as c:
        for _ in range(5):
            r = c.post(url + "/v1/embeddings", content=body, headers={"Content-Type": "application/json"})
            assert r.status_code == 429 and 1 <= int(r.headers["Retry-After"]) <= 60, (name, r.status_code, r.text)
            assert (r.http_version == "HTTP/2") == http2, r.http_version
            assert r.json()["error"]["code"] == "overloaded", r.text
        print(f"httpx {httpx.__version__} by {name}: 429, Retry-After {r.headers['Retry-After']}, 5 of 5")

for url in plain, tls:
    client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0, http_client=httpx.Client(verify=context, timeout=60))
    for _ in range(5):
        try:
            client.embeddings.create(model="demo", input=MB20)
            sys.exit("an answer from a server without room")
        except openai.RateLimitError as e:
            assert e.status_code == 429 and e.code == "overloaded", e
    print(f"openai {openai.__version__} for Python, {urlsplit(url).scheme}: RateLimitError, 5 of 5")
client = openai.OpenAI(base_url=plain + "/v1", api_key="none", http_client=httpx.Client(timeout=60))
try:
    client.embeddings.create(model="demo", input="A" * (40 << 20))
    sys.exit("a body that is too large was taken")
except openai.APIStatusError as e:
    assert e.status_code == 413, e
print("and 413 of 40 MB")
subprocess.run([node, script, plain], check=True)

for s in held:
    s.close()
client = openai.OpenAI(base_url=plain + "/v1", api_key="none", max_retries=10)
assert len(client.embeddings.create(model="demo", input="a red circle").data) == 1
print("when there is room again: an answer")
