"use strict";
(() => {
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const data = JSON.parse($("#data").textContent);
const make = (name, text = "", attributes = {}) => {
  const element = document.createElement(name);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

// ---- light and dark
const theme = $("#theme");
const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
const store = (key, value) => { try { localStorage.setItem(key, value); } catch { /* a file may have no storage */ } };
const stored = key => { try { return localStorage.getItem(key); } catch { return null; } };
const showTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
const turnTheme = () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  store("pytest-interp-theme", document.documentElement.dataset.theme);
  showTheme();
};
if (["light", "dark"].includes(stored("pytest-interp-theme"))) document.documentElement.dataset.theme = stored("pytest-interp-theme");
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
theme.addEventListener("click", turnTheme);
theme.hidden = false;
showTheme();

// ---- claims: filter, order, and both in the address
const table = $("table.claims");
const claims = $$(".claim");
const fields = {q: $("#q"), f: $("#f"), m: $("#m"), r: $("#r")};
const place = new Map(claims.map((claim, rank) => [claim, rank]));
let order = {by: "v", down: false};
const texts = new Map();
const textOf = claim => {
  if (!texts.has(claim)) texts.set(claim, claim.textContent.toLowerCase());
  return texts.get(claim);
};
const shownClaims = () => claims.filter(claim => !claim.hidden);

const filter = () => {
  const words = fields.q.value.toLowerCase().split(/\s+/).filter(Boolean);
  const {f, m, r} = Object.fromEntries(Object.entries(fields).map(([key, field]) => [key, field.value]));
  let count = 0;
  for (const claim of claims) {
    const fits = (!f || (f === "attention" ? "a" in claim.dataset : claim.dataset.f === f))
      && (!m || claim.dataset.m === m) && (!r || claim.dataset.r === r)
      && words.every(word => textOf(claim).includes(word));
    claim.hidden = !fits;
    count += fits;
  }
  $("#shown").textContent = `${count} of ${claims.length}`;
  $("#clear").hidden = !Object.values(fields).some(field => field.value);
  if ($("#none")) $("#none").hidden = count > 0;
};

const keys = {
  v: claim => place.get(claim),
  s: claim => $(".say", claim).textContent,
  m: claim => claim.dataset.m,
  h: claim => $(".heads", claim).textContent.split(/[., ]/).map(part => part.padStart(4, "0")).join("."),
  d: claim => parseFloat(claim.dataset.d ?? "Infinity"),
};
const sort = () => {
  if (!table) return;
  const key = keys[order.by];
  const sorted = [...claims].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    const compared = typeof x === "string" ? x.localeCompare(y) : x - y || 0;
    return (order.down ? -compared : compared) || place.get(a) - place.get(b);
  });
  table.append(...sorted);
  for (const button of $$("[data-sort]", table)) {
    const header = button.closest("th");
    if (button.dataset.sort === order.by) header.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    else header.removeAttribute("aria-sort");
  }
};

const toAddress = () => {
  const state = new URLSearchParams();
  for (const [key, field] of Object.entries(fields)) if (field.value) state.set(key, field.value);
  if (order.by !== "v" || order.down) state.set("sort", (order.down ? "-" : "") + order.by);
  const text = state.toString();
  history.replaceState(null, "", text ? `#?${text}` : "#claims");
};
const fromAddress = () => {
  if (!location.hash.startsWith("#?")) return false;
  const state = new URLSearchParams(location.hash.slice(2));
  for (const [key, field] of Object.entries(fields)) {
    const value = state.get(key) ?? "";
    field.value = field.tagName === "INPUT" || $$("option", field).some(option => option.value === value) ? value : "";
  }
  const by = (state.get("sort") ?? "v").replace(/^-/, "");
  order = {by: by in keys ? by : "v", down: (state.get("sort") ?? "").startsWith("-")};
  sort();
  filter();
  return true;
};
const clear = () => {
  for (const field of Object.values(fields)) field.value = "";
  filter();
  toAddress();
};
for (const field of Object.values(fields)) field.addEventListener("input", () => { filter(); toAddress(); });
$("#tools").addEventListener("submit", event => event.preventDefault());
$("#tools").addEventListener("reset", event => { event.preventDefault(); clear(); });
if ($("#all")) $("#all").addEventListener("click", clear);
for (const button of $$("[data-sort]")) {
  button.addEventListener("click", () => {
    const by = button.dataset.sort;
    order = {by, down: order.by === by && !order.down};
    sort();
    toAddress();
  });
}
$("#tools").hidden = !claims.length;

// ---- a claim's link, its code, copying
const open = target => {
  for (let element = target; element; element = element.parentElement) if (element.tagName === "DETAILS") element.open = true;
  if (target.classList.contains("claim")) $("details", target).open = true;
};
const go = () => {
  if (fromAddress()) { $("#claims").scrollIntoView(); return; }
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (!target) return;
  if (target.hidden) { for (const field of Object.values(fields)) field.value = ""; filter(); }
  open(target);
  target.scrollIntoView();
};
addEventListener("hashchange", go);
for (const details of $$(".more > td > details")) {
  const showCode = () => {
    const holder = details.open && $("[data-code]", details);
    if (holder) holder.replaceWith($(`#code-${holder.dataset.code} pre`).cloneNode(true));
  };
  details.addEventListener("toggle", showCode);
  showCode();
}
const copy = async (button, text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page from disk may have no clipboard
    const area = make("textarea", text, {style: "position:fixed;opacity:0"});
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "copied";
  setTimeout(() => { button.textContent = "copy"; }, 1500);
};
for (const place of $$(".cmd, .worst li")) {
  const button = make("button", "copy", {type: "button", class: "noprint"});
  button.addEventListener("click", () => copy(button, "p" in place.dataset ? data.prompts[place.dataset.p] : $("code", place).textContent));
  place.append(button);
}

// ---- heat maps: the cell under the pointer or with the focus is read out
const walkable = (heat, readout, words) => {
  const rows = $$("tbody tr", heat).map(row => $$("td", row));
  const columns = $$("thead th", heat).slice(1).map(header => header.textContent);
  const say = (row, column) => {
    const cell = rows[row][column];
    const value = cell.dataset.v ?? cell.textContent.trim();
    readout.replaceChildren(make("b", words(rows[row][0].parentElement.cells[0].textContent, columns[column])),
      ` ${value || "undefined"}`, cell.dataset.k ? ` (claimed: ${cell.dataset.k})` : "");
  };
  const at = cell => { const row = rows.findIndex(cells => cells.includes(cell)); return [row, rows[row].indexOf(cell)]; };
  if (!rows.length || !rows[0].length) return;
  for (const cells of rows) for (const cell of cells) cell.tabIndex = -1;
  rows[0][0].tabIndex = 0;
  heat.addEventListener("pointerover", event => { const cell = event.target.closest("td"); if (cell) say(...at(cell)); });
  heat.addEventListener("focusin", event => { const cell = event.target.closest("td"); if (cell) say(...at(cell)); });
  heat.addEventListener("keydown", event => {
    const cell = event.target.closest("td");
    const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    if (!cell || !step) return;
    event.preventDefault();
    const [row, column] = at(cell);
    const next = rows[row + step[0]]?.[column + step[1]];
    if (!next) return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
};
for (const map of $$("details.map")) {
  const prepare = () => {
    const heat = $("table.heat", map);
    const byHead = heat.dataset.axis === "head";
    const rowName = $("thead th", heat).textContent;
    walkable(heat, $("output", map), (row, column) => byHead ? `${row}.${column}` : `${rowName} ${row}, ${column}`);
  };
  if (map.open) prepare();
  else map.addEventListener("toggle", prepare, {once: true});
}

// ---- the circuit: the path under the pointer or with the focus is read out
for (const circuit of $$(".circuit-of")) {
  const readout = $("output", circuit);
  const say = event => {
    const edge = event.target.closest(".edge");
    if (edge) readout.textContent = edge.getAttribute("aria-label");
  };
  for (const name of ["pointerover", "focusin"]) circuit.addEventListener(name, say);
}

// ---- attention patterns
const choose = (select, values) => {
  const before = select.value;
  select.replaceChildren(...values.map(([value, text]) => make("option", text, {value})));
  if (values.some(([value]) => value === before)) select.value = before;
  select.parentElement.hidden = values.length < 2;
};
const unique = values => [...new Set(values)];
const pattern = () => {
  const [model, head, prompt] = [$("#att-c"), $("#att-h"), $("#att-p")];
  choose(model, unique(data.patterns.map(item => item.checkpoint)).map(name => [name, name]));
  const ofModel = data.patterns.filter(item => item.checkpoint === model.value);
  choose(head, unique(ofModel.map(item => item.head)).map(name => [name, name]));
  const ofHead = ofModel.filter(item => item.head === head.value);
  choose(prompt, ofHead.map((item, rank) => [String(rank), `${item.data} ${rank + 1}`]));
  const {tokens, rows, data: name} = ofHead[Number(prompt.value)] ?? ofHead[0];
  const heat = make("table", "", {class: `heat att${tokens.length > 26 ? " many" : ""}`});
  heat.append(make("caption", `Attention of ${head.value} on a prompt of ${name}`, {class: "vh"}));
  const header = make("tr");
  header.append(make("th", "from / to", {scope: "col"}), ...tokens.map(token => make("th", token, {scope: "col", class: "tok"})));
  const top = make("thead"), body = make("tbody");
  top.append(header);
  rows.forEach((row, rank) => {
    const line = make("tr");
    line.append(make("th", tokens[rank], {scope: "row"}));
    tokens.forEach((_, column) => {
      const share = row[column];
      if (share === undefined) { line.append(make("td", "", {class: "u", "data-v": "masked"})); return; }
      line.append(make("td", share < 0.005 ? "" : String(Math.round(100 * share)), {class: `p${Math.round(9 * share)}`, "data-v": share.toFixed(3)}));
    });
    body.append(line);
  });
  heat.append(top, body);
  $("#att-out").replaceChildren(heat);
  $("#att-read").textContent = `${head.value}: ${tokens.length} tokens`;
  walkable(heat, $("#att-read"), (row, column) => `${row.trim()} → ${column.trim()}`);
};
if (data.patterns.length) {
  $("#att").hidden = false;
  $("#att").addEventListener("input", pattern);
  pattern();
}

// ---- keys
let current = null;
const move = step => {
  const shown = shownClaims().sort((a, b) => a.compareDocumentPosition(b) & 4 ? -1 : 1);
  if (!shown.length) return;
  const next = current && shown.includes(current) ? shown.indexOf(current) + step : step > 0 ? 0 : shown.length - 1;
  current?.classList.remove("now");
  current = shown[Math.min(shown.length - 1, Math.max(0, next))];
  current.classList.add("now");
  $("summary", current).focus({preventScroll: true});
  current.scrollIntoView({block: "nearest"});
};
const help = $("#keys");
$("#help").addEventListener("click", () => help.showModal());
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.key === "Escape") { document.activeElement?.blur(); clear(); return; }
  if (event.target.closest("input, select, textarea")) return;
  const actions = {
    "/": () => { $("#tools").scrollIntoView({block: "nearest"}); fields.q.focus(); },
    "?": () => help.showModal(),
    j: () => move(1),
    k: () => move(-1),
    o: () => { if (current) $("details", current).open = !$("details", current).open; },
    f: () => { fields.f.value = fields.f.value ? "" : "attention"; filter(); toAddress(); },
    n: () => $("#unchecked").scrollIntoView(),
    t: turnTheme,
  };
  if (!(event.key in actions)) return;
  event.preventDefault();
  actions[event.key]();
});
filter();
go();
})();
