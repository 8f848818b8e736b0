// The commands that do by curl what the page has done.

/** Quotes a text for a shell of POSIX. */
export const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** A command that posts JSON whose pictures are "@FILE" in a list under the name images. A text without pictures is one line. */
function post(url, body, { file, token }) {
  const headers = [`-H 'Content-Type: application/json'`];
  if (token) headers.unshift(`-H "Authorization: Bearer $VITAGO_TOKEN"`);
  const lines = (data) => [`curl -sS ${quote(url)}`, ...headers, data].join(" \\\n  ");
  if (file === undefined) return lines(`--data-raw ${quote(JSON.stringify(body))}`);
  // Files are too long for a command line: they go through a pipe, between the halves of the JSON.
  const [before, after] = JSON.stringify(body).split(`"@"`);
  const name = file.startsWith("-") ? `./${file}` : file;
  return `{ printf %s ${quote(before + '"')}\n  base64 < ${quote(name)} | tr -d '\\n'\n  printf %s ${quote('"' + after)}\n} | ${lines("--data-binary @-")}`;
}

/** Ranks labels for a picture. */
export function classify(address, { model, labels, templates, multi, file, token }) {
  const body = { model, images: ["@"], labels };
  if (templates.length) body.templates = templates;
  if (multi) body.multi = true;
  return post(address("v1/images:classify").href, body, { file, token });
}

/** Finds pictures by words, or by a picture. */
export function search(address, { model, text, file, top, token }) {
  const part = file === undefined ? { text } : { image: "@" };
  return post(address("v1/images:search").href, { model, query: [part], top_k: top }, { file, token });
}
