// Asks a server by OpenAI's client for Node.
//
//   node clients.mjs ADDRESS VECTORS PICTURE
//
// The file VECTORS has a line of JSON for PICTURE and one for "a red circle", as encode writes them: the answers have the same bits.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import OpenAI from 'openai';
import { VERSION } from 'openai/version';

const [base, vectors, picture] = process.argv.slice(2);
const want = readFileSync(vectors, 'utf8').trim().split('\n').map((line) => Float32Array.from(JSON.parse(line).embedding));
const uri = 'data:image/png;base64,' + readFileSync(picture).toString('base64');
const client = new OpenAI({ baseURL: base + '/v1', apiKey: 'none' });

function same(what, got, want) {
  assert.deepEqual(Float32Array.from(got), want, what);
  console.log('  ', what);
}

console.log('openai', VERSION);
let r = await client.embeddings.create({ model: 'demo', input: [uri, 'a red circle'] }); // the client asks for base64
same('a data URI', r.data[0].embedding, want[0]);
same('a text', r.data[1].embedding, want[1]);
assert.equal(r.usage.prompt_tokens, 5);
assert.equal(r.data[1].index, 1);
r = await client.embeddings.create({ model: 'demo', input: [uri, 'a red circle'], encoding_format: 'float' });
same('float', r.data[0].embedding, want[0]);
r = await client.embeddings.create({ model: 'demo', input: [{ image: uri }, { text: 'a red circle' }] });
same('objects', r.data[0].embedding, want[0]);
r = await client.embeddings.create({ model: 'demo', input: uri, modality: 'image' });
same('modality', r.data[0].embedding, want[0]);
await assert.rejects(client.embeddings.create({ model: 'other', input: 'a' }), (e) => e instanceof OpenAI.NotFoundError && e.code === 'model_not_found' && e.param === 'model');
await assert.rejects(client.embeddings.create({ model: 'demo', input: [1, 2] }), (e) => e instanceof OpenAI.BadRequestError && /token ids/.test(e.message));
for await (const m of client.models.list()) assert.equal(m.owned_by, 'vitago');
