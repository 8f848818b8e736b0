#!/usr/bin/env bash
# infinity-client 0.0.78 (PyPI): a request for embeddings whose caller gives nothing but a text has "dimensions": 0 and a model called
# "default/not-specified". What else the caller leaves out, as user, is left out. In OpenAI's interface, whose path and members these
# are, dimensions is how many values a vector shall have, at least 1, and openai 3.57.0 sends none that was not given.
#
# Cause: the client is generated from the server's description, which says 0 and that name as defaults. They become defaults of the
# class's attributes, and all that is not UNSET is sent.
#
# Who meets it: a server in infinity's place. One that checks dimensions as OpenAI's interface has them refuses every request of this
# client. Take 0 as if it were not there; or give dimensions=UNSET to the class.
#
# Seen on 2026-11-30, linux/amd64, Python 3.11.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install -q infinity-client==0.0.78 httpx==0.27.2 openai==3.57.0

cat >main.py <<'PY'
import json

import httpx
import openai
from infinity_client import Client
from infinity_client.api.default import embeddings
from infinity_client.models import OpenAIEmbeddingInputText
from infinity_client.types import UNSET


class Server(httpx.BaseTransport):
    def handle_request(self, request):
        body = json.loads(request.read())
        print(*("%s=%r" % (k, body[k]) for k in ("model", "dimensions", "user") if k in body))
        return httpx.Response(200, json={"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [1.0]}], "model": "m",
                                         "usage": {"prompt_tokens": 1, "total_tokens": 1}, "id": "a", "created": 0})


infinity = Client(base_url="http://server", httpx_args={"transport": Server()})
print("infinity-client: ", end="")
embeddings.sync(client=infinity, body=OpenAIEmbeddingInputText(input_="a"))
print("infinity-client, dimensions=UNSET: ", end="")
embeddings.sync(client=infinity, body=OpenAIEmbeddingInputText(input_="a", model="m", dimensions=UNSET))
print("openai: ", end="")
client = openai.OpenAI(base_url="http://server", api_key="x", http_client=httpx.Client(transport=Server()))
client.embeddings.create(model="m", input="a", encoding_format="float")
PY
venv/bin/python main.py >got

cat >want <<'TXT'
infinity-client: model='default/not-specified' dimensions=0
infinity-client, dimensions=UNSET: model='m'
openai: model='m'
TXT
diff want got || { echo "infinity-client 0.0.78 asks in another way than was seen" >&2; exit 1; }
echo "as seen: infinity-client 0.0.78 asks for 0 dimensions where its caller names none"
