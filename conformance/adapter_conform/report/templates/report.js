"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const list = byId("cases"), total = byId("total"), more = byId("more");
  const text = byId("text"), state = byId("state");
  const operator = byId("operator"), dtype = byId("dtype");
  const PAGE = 200;

  const cases = data.rows.map((row) => {
    const [id, suite, operator, dtype, state, where, seconds, figures, message, details, repro] = row;
    const name = (index) => data.names[index];
    return {
      id, suite: name(suite), operator: name(operator), dtype: name(dtype), state: name(state),
      where: name(where), seconds, figures, message, details,
      repro: repro || data.repro[name(suite)] + quote(id),
      search: (id + "\n" + name(operator) + "\n" + message).toLowerCase(),
    };
  });
  const places = new Map(cases.map((item) => [item.id, item]));
  let chosen = [], shown = 0;

  function quote(word) {
    return /^[\w@%+=:,./-]+$/.test(word) ? word : "'" + word.replaceAll("'", "'\"'\"'") + "'";
  }

  function element(tag, className, content) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (content !== undefined) made.textContent = content;
    return made;
  }

  function number(value) {
    if (value === "inf") return "none"; // a limit of a figure that is for information
    if (typeof value !== "number" || value === 0) return String(value);
    const size = Math.abs(value);
    return size < 1e-3 || size >= 1e5 ? value.toExponential(3) : String(+value.toPrecision(4));
  }

  function figureTable(figures) {
    const table = element("table", "figures");
    const head = table.createTHead().insertRow();
    for (const title of ["gate", "output", "measured", "limit", ""]) {
      head.append(element("th", title === "measured" || title === "limit" ? "number" : "", title));
    }
    const body = table.createTBody();
    for (const [gate, output, value, limit, passed, note] of figures) {
      const row = body.insertRow();
      if (!passed) row.className = "outside";
      row.append(element("td", "", data.names[gate]), element("td", "", data.names[output]));
      row.append(element("td", "number", value === "inf" ? value : number(value)), element("td", "number", number(limit)));
      row.append(element("td", "words", (passed ? "ok" : "outside") + (note ? ": " + note : "")));
    }
    return table;
  }

  function bodyOf(item) {
    const body = element("div", "body");
    const head = [item.suite, item.operator, item.dtype, item.where ? "ran on " + item.where : "no proof of where it ran"];
    body.append(element("div", "soft", head.filter(Boolean).join(" · ")));
    if (item.message) body.append(element("pre", "", item.message));
    if (item.figures.length) body.append(figureTable(item.figures));
    for (const [key, value] of Object.entries(item.details || {})) {
      body.append(element("div", "soft", key.replaceAll("_", " ")), element("pre", "", value));
    }
    body.append(element("div", "soft", "run this case again"), element("pre", "", item.repro));
    const link = element("a", "", "link to this case");
    link.href = "#" + encodeURIComponent(item.id);
    body.append(link);
    return body;
  }

  function toggle(node, item, open) {
    const body = node.querySelector(".body");
    if (body && !open) body.remove();
    else if (!body) node.append(bodyOf(item));
    node.firstChild.setAttribute("aria-expanded", String(!!node.querySelector(".body")));
  }

  function nodeOf(item) {
    const node = element("div", "case");
    const head = element("button");
    head.type = "button";
    const tag = element("span", "tag s-" + item.state, data.letters[item.state]);
    tag.title = item.state;
    head.append(tag, element("span", "id", item.id), element("span", "soft number", item.seconds.toFixed(3) + " s"));
    head.addEventListener("click", () => toggle(node, item, !node.querySelector(".body")));
    node.append(head);
    return node;
  }

  function showMore() {
    const next = chosen.slice(shown, shown + PAGE);
    list.append(...next.map(nodeOf));
    shown += next.length;
    more.hidden = shown >= chosen.length;
    more.textContent = "show " + Math.min(PAGE, chosen.length - shown) + " more";
  }

  function refresh() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    chosen = cases.filter((item) =>
      (!state.value || item.state === state.value) &&
      (!operator.value || item.operator === operator.value) &&
      (!dtype.value || item.dtype === dtype.value) &&
      words.every((word) => item.search.includes(word)));
    total.textContent = chosen.length + " of " + cases.length + " cases";
    for (const chip of document.querySelectorAll(".chip")) {
      chip.setAttribute("aria-pressed", String(chip.dataset.state === state.value));
    }
    list.replaceChildren();
    shown = 0;
    showMore();
  }

  function clear() {
    text.value = "";
    state.value = operator.value = dtype.value = "";
  }

  function follow() {
    let id;
    try {
      id = decodeURIComponent(location.hash.slice(1));
    } catch {
      return; // not a link of ours
    }
    const item = places.get(id);
    if (!item) return;
    clear();
    refresh();
    const index = chosen.indexOf(item);
    while (shown <= index) showMore();
    const node = list.children[index];
    for (const old of list.querySelectorAll(".target")) old.classList.remove("target");
    node.classList.add("target");
    toggle(node, item, true);
    node.firstChild.focus({ preventScroll: true });
    node.scrollIntoView({ block: "center" });
  }

  function toCases() {
    refresh();
    byId("all").focus({ preventScroll: true }); // the next Tab reaches the filters
    byId("all").scrollIntoView();
  }

  text.addEventListener("input", refresh);
  for (const choice of [state, operator, dtype]) choice.addEventListener("change", refresh);
  byId("reset").addEventListener("click", () => { clear(); refresh(); });
  more.addEventListener("click", showMore);
  for (const chip of document.querySelectorAll(".chip")) {
    chip.addEventListener("click", () => { clear(); state.value = chip.dataset.state; toCases(); });
  }
  for (const cell of document.querySelectorAll(".matrix button")) {
    cell.addEventListener("click", () => { clear(); operator.value = cell.dataset.operator; dtype.value = cell.dataset.dtype; toCases(); });
  }
  addEventListener("hashchange", follow);
  byId("shortened").hidden = data.complete;
  refresh();
  follow();
})();
