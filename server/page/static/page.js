// The page: what is on it, and what happens when it is used. It keeps nothing but the token, for as long as the tab lives; labels and choices
// are in its address.

import { address, ask, form, Problem, token } from "./server.js";
import * as curl from "./curl.js";

const $ = (id) => document.getElementById(id);
const most = 100; // labels that are shown
const top = 12; // pictures of the index that are asked for

let info = { models: [], examples: [], methods: [], template: "", image_bytes: Infinity };
let picture = null; // { file, name, url }
let ranked = null; // { labels, template }: what is shown
let pressed = ""; // the label whose map is wanted
let maps = new Map(); // of this picture, by model, method, template and label

/** Makes an element. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A task runs one thing at a time: whatever starts a new one ends the last. */
function task() {
  let running = null;
  return {
    get busy() { return running !== null; },
    cancel() { running?.abort(); running = null; },
    async run(work) {
      this.cancel();
      const mine = (running = new AbortController());
      try {
        return await work(mine.signal);
      } catch (error) {
        if (mine.signal.aborted) return undefined;
        throw error;
      } finally {
        if (running === mine) running = null;
      }
    },
  };
}
const ranking = task(), looking = task(), finding = task();

/** Shows an error in a place, with the id by which the server's log has it; no error clears it. */
function tell(place, error) {
  const element = $(place);
  element.replaceChildren();
  if (!error) return;
  element.append(error instanceof Problem ? error.message : `Something is wrong with this page: ${error.message}`);
  if (error.id) element.append(make("small", { textContent: `Request ${error.id}` }));
  if (!(error instanceof Problem)) console.error(error);
  if (error.status === 401) askForToken(error);
}

/** Shows an error where its cause is. */
function blame(error, otherwise) {
  const place = { invalid_image: "picture-error", too_large: "picture-error", invalid_text: "labels-error", no_text_tower: "labels-error", invalid_request: "labels-error" };
  tell(place[error.code] ?? otherwise, error);
}

// --- the token

function askForToken(error) {
  const known = token.get() !== "";
  token.forget();
  $("token-form").hidden = false;
  if (known) tell("token-error", new Problem("The server does not know this token.", { id: error.id }));
  $("token").focus();
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  tell("token-error");
  token.set($("token").value.trim());
  start();
});

// --- the address of the page

const lines = (text) => text.split("\n").map((s) => s.trim()).filter(Boolean);
/** The labels that are typed: one a line, or with commas between them where there is one line only. Doubles are left out. */
function labels() {
  const typed = lines($("labels").value);
  return [...new Set(typed.length === 1 ? typed[0].split(",").map((s) => s.trim()).filter(Boolean) : typed)];
}

function remember() {
  const kept = new URLSearchParams();
  if (info.models.length > 1) kept.set("model", $("model").value);
  if ($("labels").value.trim()) kept.set("labels", lines($("labels").value).join("\n"));
  if ($("templates").value.trim()) kept.set("templates", lines($("templates").value).join("\n"));
  if ($("multi").checked) kept.set("multi", "1");
  if ($("method").selectedIndex > 0) kept.set("method", $("method").value);
  const text = kept.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  $("labels").value = kept.get("labels") ?? "";
  $("templates").value = kept.get("templates") ?? "";
  $("more").open = $("templates").value !== "";
  $("multi").checked = kept.get("multi") === "1";
  choose($("model"), kept.get("model"));
  choose($("method"), kept.get("method"));
}

/** Selects a value, the first if there is no such. */
function choose(select, value) {
  select.selectedIndex = Math.max([...select.options].findIndex((o) => o.value === value), 0);
}

// --- the picture

/** Takes a file as the picture. */
function take(file) {
  tell("picture-error");
  if (file.size > info.image_bytes) {
    tell("picture-error", new Problem(`The file has ${megabytes(file.size)}; this server takes at most ${megabytes(info.image_bytes)}.`));
    return;
  }
  if (picture) URL.revokeObjectURL(picture.url);
  picture = { file, name: file.name || "pasted.png", url: URL.createObjectURL(file) };
  maps = new Map();
  looking.cancel();
  hideMap();
  $("stage").classList.add("full");
  $("stage").setAttribute("aria-label", `${picture.name}. Choose another picture`);
  $("picture-name").textContent = picture.name;
  show($("shown"), picture.url);
  $("find-alike").disabled = false;
  if (canRank() && (labels().length || !texts())) rank();
  else showCurl();
}

const megabytes = (n) => `${(n / (1 << 20)).toFixed(1)} MB`;

function show(img, url) {
  img.src = url;
  img.hidden = false;
}

$("shown").addEventListener("error", () => {
  $("shown").hidden = true;
  $("picture-name").textContent = `${picture.name}: this browser cannot show it, the server may well read it`;
});

$("stage").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  if ($("file").files.length) take($("file").files[0]);
  $("file").value = ""; // so that the same file can be chosen again
});

document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files][0];
  if (!file) return;
  event.preventDefault();
  take(file);
});

let inside = 0; // elements below the file that is dragged
const drags = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragenter", (event) => {
  if (!drags(event)) return;
  inside++;
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (drags(event) && --inside <= 0) undrag();
});
document.addEventListener("dragover", (event) => {
  if (drags(event)) event.preventDefault();
});
document.addEventListener("drop", (event) => {
  if (!drags(event)) return;
  event.preventDefault();
  undrag();
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
});
function undrag() {
  inside = 0;
  document.body.classList.remove("dragging");
}

/** Shows the examples; what they are called are labels to begin with. */
async function showExamples() {
  const box = $("examples");
  box.hidden = info.examples.length === 0;
  const words = (name) => name.replace(/\.\w+$/, "").replaceAll("-", " ");
  box.replaceChildren(...info.examples.map((name) => {
    const img = make("img", { alt: words(name), width: 44, height: 44 });
    const button = make("button", { type: "button", title: words(name), disabled: true }, img);
    ask(`ui/example/${encodeURIComponent(name)}`).then((r) => r.blob()).then((blob) => {
      img.src = URL.createObjectURL(blob);
      button.disabled = false;
      button.addEventListener("click", () => {
        if (!labels().length) $("labels").value = info.examples.map(words).join("\n");
        remember();
        take(new File([blob], name, { type: blob.type }));
      });
    }, (error) => tell("picture-error", error));
    return button;
  }));
}

// --- labels

const canRank = () => offers("imageclassification");

const chosen = () => info.models.find((m) => m.name === $("model").value);
/** Says whether the chosen model can do a task. */
const offers = (name) => chosen()?.tasks.includes(name) ?? false;
/** Says whether it has a text tower. Without one labels are those that it was trained for. */
const texts = () => chosen()?.texts ?? false;

async function rank() {
  ["picture-error", "labels-error", "rank-error"].forEach((place) => tell(place));
  remember();
  if (!picture) {
    tell("picture-error", new Problem("Choose a picture first."));
    $("stage").focus();
    return;
  }
  const templates = lines($("templates").value);
  const asked = { model: $("model").value, label: labels(), template: templates, multi: $("multi").checked ? "true" : undefined, image: picture.file };
  showCurl();
  $("rank").textContent = "Cancel";
  $("status").textContent = "Looking …";
  $("results").classList.add("stale");
  try {
    const answer = await ranking.run(async (signal) => (await ask("ui/classify", { form: form(asked), signal })).json());
    if (!answer) return;
    ranked = { labels: answer.labels, template: templates[0] };
    showRanked();
  } catch (error) {
    $("status").textContent = "";
    if (error.code === "invalid_image") $("picture-name").textContent = picture.name; // the server cannot show it either
    blame(error, "rank-error");
  } finally {
    if (!ranking.busy) {
      $("rank").textContent = "Rank";
      $("results").classList.remove("stale");
    }
  }
}

const percent = (p) => `${(100 * p).toFixed(1)} %`;

function showRanked() {
  const shown = ranked.labels.slice(0, most);
  const there = new Map([...$("results").children].map((li) => [li.dataset.label, li]));
  $("results").replaceChildren(...shown.map(({ label, probability, cosine = 0 }) => {
    const li = there.get(label) ?? newRow(label);
    const [name, p, cos, bar] = li.firstChild.children;
    name.textContent = label;
    p.textContent = percent(probability);
    cos.replaceChildren(make("span", { className: "unseen", textContent: "cosine " }), cosine.toFixed(3));
    bar.style.setProperty("--p", probability);
    return li;
  }));
  const left = ranked.labels.length - shown.length;
  $("results-note").textContent = left > 0 ? `${left} more labels are less probable.` : "";
  const best = ranked.labels[0];
  $("status").textContent = `${best.label}, ${percent(best.probability)}`;
  $("looks").disabled = !offers("explain");
  if (!shown.some((l) => l.label === pressed)) pressed = "";
  mark();
  if (pressed) look();
  else $("map-caption").textContent = "Choose a label to see where the model looks for it.";
}

function newRow(label) {
  const button = make("button", { type: "button", className: "row" },
    make("span", { className: "name" }), make("span"), make("span", { className: "cosine" }), make("span", { className: "bar" }));
  button.setAttribute("aria-describedby", "row-hint");
  button.addEventListener("click", () => {
    pressed = pressed === label ? "" : label;
    mark();
    look();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (pressed) $("stage").scrollIntoView({ block: "nearest", behavior: still ? "instant" : "smooth" });
  });
  const li = make("li", {}, button);
  li.dataset.label = label;
  return li;
}

function mark() {
  for (const li of $("results").children) li.firstChild.setAttribute("aria-pressed", li.dataset.label === pressed);
}

$("rank-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!ranking.busy) return void rank();
  ranking.cancel();
  $("rank").textContent = "Rank";
  $("status").textContent = "Cancelled";
  $("results").classList.remove("stale");
});
for (const place of ["labels", "templates"]) {
  $(place).addEventListener("input", () => { remember(); showCurl(); });
  $(place).addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) rank();
  });
}
$("multi").addEventListener("change", again);
$("model").addEventListener("change", () => { maps = new Map(); adapt(); again(); });

/** What changed counts at once, if there is something to see. */
function again() {
  remember();
  showCurl();
  if (picture && ranked) rank();
}

// --- where the model looks

async function look() {
  tell("map-error");
  const method = $("method").value;
  const ofLabel = method !== "rollout"; // which is the same for every label
  if (!picture || (ofLabel && !pressed)) {
    looking.cancel();
    hideMap();
    $("map-caption").textContent = ranked ? "Choose a label to see where the model looks for it." : "";
    return;
  }
  const label = ofLabel ? pressed : undefined, template = ofLabel ? ranked.template : undefined;
  const key = JSON.stringify([$("model").value, method, label, template]);
  $("map-caption").textContent = "Looking …";
  try {
    const found = maps.get(key) ?? await looking.run(async (signal) => {
      const asked = { model: $("model").value, method, label, template, image: picture.file };
      return (await ask("ui/map", { form: form(asked), signal })).json();
    });
    if (!found) return;
    maps.set(key, found);
    show($("shown"), found.picture); // as the model has it: turned or not, and of formats that a browser does not know
    show($("colours"), found.colours);
    $("map-caption").textContent = ofLabel ? `“${found.caption}”, cosine ${found.score.toFixed(3)}, ${found.grid}×${found.grid} patches` : `The same for every label, ${found.grid}×${found.grid} patches`;
    $("stage").setAttribute("aria-label", `${picture.name}, with the map over it. Choose another picture`);
  } catch (error) {
    hideMap();
    $("map-caption").textContent = "";
    tell("map-error", error);
  }
}

function hideMap() {
  $("colours").hidden = true;
  if (picture) show($("shown"), picture.url);
}

$("method").addEventListener("change", () => { remember(); look(); });
$("opacity").addEventListener("input", () => {
  const value = $("opacity").value;
  $("colours").style.opacity = value / 100;
  $("opacity").setAttribute("aria-valuetext", `${value} %`);
});

// --- pictures of the index

/** Finds pictures by what is asked: text, image or path. words say what was looked for. */
async function find(asked, words) {
  tell("find-error");
  $("find-status").textContent = "Looking …";
  $("hits").classList.add("stale");
  lastFind = asked;
  showCurl();
  try {
    const answer = await finding.run(async (signal) => (await ask("ui/search", { form: form({ model: $("model").value, top, ...asked }), signal })).json());
    if (!answer) return;
    showHits(answer.hits);
    $("find-status").textContent = `${answer.hits.length} ${answer.hits.length === 1 ? "picture" : "pictures"} ${words}`;
  } catch (error) {
    $("find-status").textContent = "";
    tell("find-error", error);
  } finally {
    if (!finding.busy) $("hits").classList.remove("stale");
  }
}
let lastFind = null;
let thumbs = new AbortController();

function showHits(hits) {
  thumbs.abort(); // those that nobody sees any more
  thumbs = new AbortController();
  for (const img of $("hits").querySelectorAll("img")) URL.revokeObjectURL(img.src);
  $("hits").replaceChildren(...hits.map((hit) => {
    const thumb = make("span", { className: "thumb" });
    const button = make("button", { type: "button", title: hit.name }, thumb,
      make("span", { className: "words" }, make("span", { className: "name", textContent: hit.caption || hit.name }), make("span", { className: "score", textContent: hit.score.toFixed(3) })));
    button.setAttribute("aria-describedby", "hit-hint");
    button.addEventListener("click", () => find({ path: hit.path }, `like ${hit.name}`));
    ask(hit.picture, { signal: thumbs.signal }).then((r) => r.blob()).then(
      (blob) => thumb.append(make("img", { alt: "", src: URL.createObjectURL(blob) })),
      (error) => { if (error instanceof Problem) thumb.textContent = "no picture"; });
    return make("li", {}, button);
  }));
}

$("find-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("query").value.trim();
  if (text) find({ text }, `for “${text}”`);
  else tell("find-error", new Problem("Type some words first."));
});
$("find-alike").addEventListener("click", () => find({ image: picture.file }, `like ${picture.name}`));

// --- curl

/** Shows the commands that do what was done last. */
function showCurl() {
  const common = { model: $("model").value, token: token.get() !== "" };
  const file = picture?.name ?? "picture.jpg";
  const asked = labels().length || !texts() ? labels() : lines($("labels").placeholder);
  const commands = [curl.classify(address, { ...common, file, labels: asked, templates: lines($("templates").value), multi: $("multi").checked })];
  if (lastFind?.text) commands.push(curl.search(address, { ...common, top, text: lastFind.text }));
  else if (lastFind?.image) commands.push(curl.search(address, { ...common, top, file }));
  $("curl").textContent = commands.join("\n\n");
}

$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("curl").textContent);
    $("copied").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren($("curl")); // where the clipboard is not given to pages, as without TLS
    $("copied").textContent = "Selected: copy it with the keyboard";
  }
});

// --- the beginning

/** Shows what the chosen model can do. */
function adapt() {
  $("find").hidden = !offers("imagesearch");
  $("rank").disabled = !canRank();
  for (const place of ["labels", "templates", "query", "find-words"]) $(place).disabled = !texts();
  for (const option of $("method").options) option.disabled = !texts() && option.value !== "rollout"; // which needs no words
  if ($("method").selectedOptions[0]?.disabled) $("method").value = "rollout";
  if ($("find").hidden) lastFind = null;
}

async function start() {
  try {
    info = await (await ask("ui/info")).json();
  } catch (error) {
    if (error.status === 401) return askForToken(error);
    open();
    return tell("rank-error", error);
  }
  $("token-form").hidden = true;
  $("model").replaceChildren(...info.models.map((m) => make("option", { value: m.name, textContent: m.name })));
  $("model").disabled = info.models.length < 2;
  $("method").replaceChildren(...info.methods.map((m) => make("option", { value: m, textContent: m })));
  $("templates").placeholder = info.template;
  recall();
  adapt();
  showCurl();
  showExamples();
  open();
}

/** Shows the page. Before it is known what it has, nothing is shown that would have to move. */
function open() {
  $("all").hidden = $("foot").hidden = false;
}

addEventListener("hashchange", () => { recall(); adapt(); again(); });
start();
