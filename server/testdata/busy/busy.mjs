// A client with 20 MB meets a server that has no room: node busy.mjs http://…
import assert from 'node:assert';
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: process.argv[2] + '/v1', apiKey: 'none', maxRetries: 0 });
const input = 'data:image/png;base64,' + 'A'.repeat(20 << 20);
for (let i = 0; i < 5; i++) {
  await assert.rejects(client.embeddings.create({ model: 'demo', input }), (e) => {
    assert.equal(e.status, 429, String(e));
    assert.equal(e.code, 'overloaded');
    const wait = Number(e.headers.get('retry-after'));
    assert.ok(wait >= 1 && wait <= 60, String(wait));
    return true;
  });
}
console.log('openai for Node: 429 with Retry-After, 5 of 5');
