#!/usr/bin/env bash
# openai (npm) 7.59.0: to 429 with "Retry-After: 59" the client for Node waits 59 seconds, and with more than 60 it asks again after half a
# second, so that a server that wants more quiet gets less. With 61 and 300 the second request comes within a second; with 2 after 2 s.
#
# Cause: a value above 60 s is as if there were none, and the back-off of 0.5 s is taken. Python's and Go's wait up to 120 s, and do
# not ask again beyond that.
# Who meets it: servers under load. Say at most 59 or 60 seconds.
# Seen on 2026-11-30, linux/amd64, Node 20.20.2.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund openai@7.59.0
cat >seen.mjs <<'J'
import http from 'node:http';
import OpenAI from 'openai';
for (const after of ['2', '61', '300']) {
  const times = [];
  const server = http.createServer((q, r) => {
    q.resume();
    q.on('end', () => {
      times.push(Date.now());
      r.writeHead(times.length < 2 ? 429 : 400, { 'retry-after': after });
      r.end('{}');
    });
  });
  await new Promise((f) => server.listen(0, '127.0.0.1', f));
  const client = new OpenAI({ baseURL: `http://127.0.0.1:${server.address().port}`, apiKey: 'x' });
  await client.embeddings.create({ model: 'm', input: 'a' }).catch(() => {});
  const s = (times[1] - times[0]) / 1000;
  console.log(`Retry-After ${after}: again after ${s < 1.5 ? 'less than 1.5' : 'at least ' + after} s`);
  server.close();
  server.closeAllConnections();
}
J
node seen.mjs >got
printf '%s\n' 'Retry-After 2: again after at least 2 s' 'Retry-After 61: again after less than 1.5 s' 'Retry-After 300: again after less than 1.5 s' >want
diff want got || { echo "openai for Node takes Retry-After in another way now" >&2; exit 1; }
echo "as seen: openai for Node asks again at once where Retry-After is above a minute"
