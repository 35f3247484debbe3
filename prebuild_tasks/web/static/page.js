// Shows what changes on a page while it is open. Pages work without this script. `times.js` stands before it.
"use strict";

// The tabs of a session that show the same share one stream: the one that has the lock
// reads it, and hands on what it gets. Only tabs that are seen take part.

const main = document.querySelector("main[data-live]");
const RETRY_MS = 3000; // after an answer without a stream, half to one and a half times as long
const KEPT = "open"; // the attribute that people change

// Makes an element like a new one, and leaves alone what is the same. Children with an id stay themselves in any place.
function morph(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== KEPT) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && name !== KEPT) old.setAttribute(name, value);
  }
  const has = [...fresh.childNodes];
  has.forEach((node, at) => {
    const there = old.childNodes[at] ?? null;
    const same = node.id ? [...old.children].find(({ id }) => id === node.id) : there?.id ? null : there;
    if (!same) old.insertBefore(node, there);
    else if (same.nodeName !== node.nodeName) same.replaceWith(node);
    else {
      if (same !== there) move(same, old, there);
      if (node.nodeType === Node.ELEMENT_NODE) morph(same, node);
      else if (same.data !== node.data) same.data = node.data;
    }
  });
  [...old.childNodes].slice(has.length).forEach((node) => node.remove());
}

// Puts an element into a list, or to another place in it.
function move(element, list, next) {
  if (element.isConnected && list.moveBefore) list.moveBefore(element, next);
  else list.insertBefore(element, next);
}

const token = document.querySelector("[name=form_token]")?.value;
const waiting = new Map(); // the changes of parts that wait until nobody types in a form of theirs, by their id

function isTypedIn(part) {
  return [...part.querySelectorAll("input:not([type=hidden]), textarea")].some(
    (field) => field === document.activeElement || field.value !== field.defaultValue);
}

// Makes a part like a new one, as soon as nobody types in it.
function renew(part, html) {
  if (isTypedIn(part)) return waiting.set(part.id, html);
  waiting.delete(part.id);
  morph(part, parsed(html));
}

document.addEventListener("focusout", () => setTimeout(() => keepingFocus(() => {
  for (const [id, html] of waiting) renew(document.getElementById(id), html);
})));

function parsed(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  showTimes(template.content);
  for (const field of template.content.querySelectorAll("[name=form_token]")) field.setAttribute("value", token);
  return template.content.firstElementChild;
}

function place(element, list, after) {
  const previous = after ? document.getElementById(after) : null;
  if (element.parentNode === list && element.previousElementSibling === previous) return;
  move(element, list, previous ? previous.nextSibling : list.firstChild);
}

// Calls `act`, and gives back the focus and the selection that elements lose when they move.
function keepingFocus(act) {
  const focused = document.activeElement, selection = getSelection(), text = String(selection);
  const { anchorNode, anchorOffset, focusNode, focusOffset } = selection;
  act();
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  if (text && String(selection) !== text && anchorNode.isConnected && focusNode.isConnected) {
    const within = (node, offset) => Math.min(offset, node.data?.length ?? node.childNodes.length);
    selection.setBaseAndExtent(anchorNode, within(anchorNode, anchorOffset), focusNode, within(focusNode, focusOffset));
  }
}

// Calls `act`, and keeps in its place the first row on the screen that does not change.
function keepingScroll(changed, act) {
  const rows = scrollY > 0 ? [...main.querySelectorAll("[data-list] > *")] : [];
  const seen = rows.find((row) => !changed.has(row.id) && row.getBoundingClientRect().bottom > 0);
  const top = seen?.getBoundingClientRect().top;
  act();
  if (seen?.isConnected) scrollBy({ top: seen.getBoundingClientRect().top - top, behavior: "instant" });
}

// Shows a change: all parts, or those that are not as before, each with the one that it follows.
function show({ all, gone = [], parts }) {
  const changed = new Set([...gone, ...parts.map((part) => part.id)]);
  keepingScroll(changed, () => keepingFocus(() => {
    for (const id of gone) document.getElementById(id)?.remove();
    for (const row of all ? main.querySelectorAll("[data-list] > *") : []) if (!changed.has(row.id)) row.remove();
    for (const { id, within, after, html } of parts) {
      const list = within ? document.getElementById(within) : null, shown = document.getElementById(id);
      const element = shown ?? parsed(html);
      if (shown) renew(shown, html);
      if (list) place(element, list, after);
    }
  }));
}

// Returns all parts of this page, for a tab that has missed some.
function everything() {
  const rows = [...main.querySelectorAll("[data-list] > *")].map((row) => ({
    id: row.id, within: row.parentNode.id, after: row.previousElementSibling?.id ?? "", html: row.outerHTML }));
  const others = [...main.querySelectorAll("[data-part]")].map((part) => ({
    id: part.id, within: "", html: waiting.get(part.id) ?? part.outerHTML }));
  return [...others, ...rows];
}

function showConnection({ since, over, why }) {
  const place = document.getElementById("connection");
  place.className = since || over ? "away" : "live";
  place.textContent = over ? "Logged out. " : since ? `Disconnected since ${today.format(since)}, trying again${why ? `: ${why}` : ""}` : "Live";
  if (over) place.append(Object.assign(document.createElement("a"), { href: location.href, textContent: "Log in again" }));
  place.hidden = false;
}

// Returns why a request was refused, as its page says it.
function reasonOf(html) {
  return new DOMParser().parseFromString(html, "text/html").querySelector("h1")?.textContent ?? "";
}

function watch() {
  document.getElementById("connection").hidden = false; // which says that it connects
  const address = new URL(main.dataset.live, location.href);
  let state = address.searchParams.get("shown"), since = null, leads = false, source, seen;
  address.searchParams.delete("shown");
  const name = `prebuild:${address.pathname}${address.search}`, channel = new BroadcastChannel(name);

  // Returns false if something was missed before.
  function receive(change) {
    if (change.is === state) return true;
    if (!change.all && change.was !== state) return false;
    show(change);
    state = change.is;
    return true;
  }

  function tell(connection) {
    showConnection(connection);
    channel.postMessage({ connection });
  }

  // Leaves the lock and the stream to others: the session has ended, and this page with it.
  function finish() {
    document.removeEventListener("visibilitychange", follow);
    seen.abort();
    channel.close();
  }

  function tellOver() {
    tell({ over: true });
    finish();
  }

  // Reads the stream until the signal.
  function lead(signal) {
    let timer;
    const open = () => {
      address.searchParams.set("shown", state);
      source = new EventSource(address);
      source.onopen = () => tell({ since: since = null });
      source.addEventListener("change", ({ data }) => {
        const change = JSON.parse(data);
        channel.postMessage({ change });
        if (receive(change)) return;
        source.close();
        open();
      });
      source.addEventListener("over", tellOver);
      source.onerror = async () => {
        tell({ since: since ??= Date.now() });
        if (source.readyState !== EventSource.CLOSED) return; // the browser tries again
        const answer = await fetch(address, { redirect: "manual", signal }).catch(() => null);
        const why = answer?.status >= 400 ? reasonOf(await answer.text().catch(() => "")) : "";
        if (answer?.ok) answer.body.cancel();
        if (signal.aborted) return;
        if (answer?.type === "opaqueredirect") tellOver();
        else timer = setTimeout(open, RETRY_MS * (0.5 + Math.random()));
        if (why) tell({ since, why });
      };
    };
    return new Promise((done) => {
      signal.addEventListener("abort", () => {
        leads = false;
        clearTimeout(timer);
        source.close();
        done();
      });
      leads = true;
      open();
    });
  }

  channel.onmessage = ({ data: { change, connection, hello } }) => {
    if (hello && leads && source.readyState === EventSource.OPEN) {
      channel.postMessage({ change: { is: state, all: true, parts: everything() }, connection: { since } });
    }
    if (leads || document.hidden) return;
    if (connection) showConnection(connection);
    if (connection?.over) return finish();
    if (change && !receive(change)) channel.postMessage({ hello: true });
  };

  function follow() {
    seen?.abort();
    if (document.hidden) return;
    seen = new AbortController();
    const { signal } = seen;
    channel.postMessage({ hello: true });
    if (navigator.locks) navigator.locks.request(name, { signal }, () => lead(signal)).catch(() => {});
    else lead(signal); // outside of a secure context each tab reads for itself
  }

  document.addEventListener("visibilitychange", follow);
  follow();
}

if (main) watch();

// The output of a build that has not ended: what it writes is appended.

const output = document.querySelector("[data-follow]");
const FOLLOW_MS = 1000;
const FACTS = ["build-status", "build-facts", "log-state"]; // change as the build goes on

async function asked(address) {
  const answer = await fetch(address, { redirect: "manual" }).catch(() => null);
  if (answer?.type === "opaqueredirect") showConnection({ over: true });
  return answer;
}

async function showFacts() {
  const answer = await asked(location.href);
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  showTimes(fresh);
  for (const id of FACTS) {
    const old = document.getElementById(id), now = fresh.getElementById(id);
    if (old && now) morph(old, document.importNode(now, true));
    else old?.remove();
  }
}

function append(piece) {
  const page = document.scrollingElement, isAtEnd = page.scrollTop + innerHeight >= page.scrollHeight - 40;
  output.append(piece);
  if (isAtEnd) page.scrollTop = page.scrollHeight;
}

function followOutput() {
  let after = output.lastElementChild.dataset.after, since = null, started = output.textContent !== "";
  async function look() {
    if (document.hidden) return document.addEventListener("visibilitychange", look, { once: true });
    const answer = await asked(`${output.dataset.follow}?${new URLSearchParams({ after })}`);
    if (answer?.type === "opaqueredirect") return;
    if (answer?.ok) {
      const piece = parsed(await answer.text());
      after = piece.dataset.after;
      if (piece.textContent) append(piece);
      if ("ended" in piece.dataset) return showFacts();
      if (piece.textContent && !started) await showFacts();
      started ||= piece.textContent !== "";
    }
    showConnection({ since: since = answer?.ok ? null : since ?? Date.now() });
    setTimeout(look, FOLLOW_MS);
  }
  document.getElementById("log-state").textContent = "What the build writes is shown as it comes.";
  look();
}

if (output && !("ended" in output.lastElementChild.dataset)) followOutput();
