// What the page asks of the server that it came from.

const base = new URL("./", document.baseURI); // the folder of the page, wherever a proxy has it
const tokenKey = "vitago-token";

/** The address of a route. */
export const address = (path) => new URL(path, base);

/** The token that requests carry. It lives as long as the tab. */
export const token = {
  get: () => sessionStorage.getItem(tokenKey) ?? "",
  set: (value) => sessionStorage.setItem(tokenKey, value),
  forget: () => sessionStorage.removeItem(tokenKey),
};

/** What went wrong, as a sentence, with the server's word for it and the id of the request. */
export class Problem extends Error {
  constructor(message, { status = 0, code = "", id = "" } = {}) {
    super(message);
    Object.assign(this, { status, code, id });
  }
}

/** Makes a sentence of the message of an error. */
export function sentence(text) {
  const trimmed = text.trim();
  const first = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(first) ? first : first + ".";
}

/** Asks for a path; a form is posted. Returns the Response of a success, and throws a Problem or an AbortError. */
export async function ask(path, { form, signal } = {}) {
  const headers = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
  let response;
  try {
    response = await fetch(address(path), { method: form ? "POST" : "GET", body: form, headers, signal, credentials: "same-origin" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem("The server did not answer. It may be down, or the connection may be.");
  }
  if (response.ok) return response;
  const id = response.headers.get("X-Request-Id") ?? "";
  let told = {};
  try {
    told = (await response.json()).error ?? {};
  } catch (error) {
    if (signal?.aborted) throw error; // else a proxy's page: its status has to do
  }
  let message = sentence(told.message || `The server answered with status ${response.status}`);
  if (response.status === 429 || response.status === 503) {
    const wait = Number(response.headers.get("Retry-After"));
    message += wait > 0 ? ` Try again in ${wait === 1 ? "a second" : `${wait} seconds`}.` : " Try again later.";
  }
  throw new Problem(message, { status: response.status, code: told.code, id: told.request_id || id });
}

/** A form of values, lists and files; what is undefined is left out. */
export function form(values) {
  const data = new FormData();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one instanceof Blob) data.append(name, one, "picture");
      else if (one !== undefined) data.append(name, one);
    }
  }
  return data;
}
