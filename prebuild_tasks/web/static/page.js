// Shows what changes on a page while it is open. It is served as one script with `times.js`, which stands before it.

const main = document.querySelector("main[data-live]");
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

// Says that the page is live, or since when and why not: it is disconnected, not up to date though it is connected, or over.
function showConnection({ since, why, stale, over }) {
  const place = document.getElementById("connection"), state = stale ? "Not up to date" : "Disconnected";
  place.className = since || over ? "away" : "live";
  const make = (name, values) => Object.assign(document.createElement(name), values);
  const away = () => [`${state} since `, make("time", inZone(new Date(since))), `, trying again${why ? `: ${why}` : ""}`];
  const again = () => ["Logged out. ", make("a", { href: location.href, textContent: "Log in again" })];
  place.replaceChildren(...(over ? again() : since ? away() : ["Live"]));
  place.hidden = false;
}

// Returns why a request was refused, as its page says it.
function reasonOf(html) {
  return new DOMParser().parseFromString(html, "text/html").querySelector("h1")?.textContent ?? "";
}

// The tabs of a session share one stream of the views that they show: the tab that has the lock reads it, and hands on
// what comes. Each says what it shows, and when that ends. Only tabs that are seen take part.

const VIEWS_MAX = 12, STATES_MAX = 4; // of a stream, and of each view in it
const SHOW_MS = 20000; // a tab says again what it shows; one that is silent for three times as long is gone
const JOIN_MS = 50, LEAVE_MS = 1000; // from a change of what is shown until the stream is opened anew
const MISSED_MS = 500; // after a change of another state, until a tab that is still behind says so
const SILENT_MS = 40000, CHECK_MS = 5000; // the server says something every 15 s: nothing for so long, and it is not heard
const FRESH_MS = 2000; // a page that was loaded within this has a session
const RETRY_MS = 3000; // after it broke, half to one and a half times as long

// Reads the stream for all tabs until the signal, and says to them what comes. Returns what hears them.
function lead({ path, session, say, awaySince, signal }) {
  const tabs = new Map(); // what each shows, by its id
  let known = new Map(); // the state of each view in the stream, and why it is not up to date
  let source, timer, due = Infinity, heard;

  function openWithin(ms) {
    if (Date.now() + ms >= due) return;
    due = Date.now() + ms;
    clearTimeout(timer);
    timer = setTimeout(open, ms);
  }

  function note() {
    heard = Date.now();
  }

  function learn(view, news) {
    note();
    known.set(view, { ...known.get(view), ...news });
  }

  function receive(view, change) {
    learn(view, { is: change.is, stale: null });
    for (const tab of tabs.values()) if (tab.view === view && follows(change, tab.state)) tab.state = change.is;
    say({ view, change });
  }

  function tellStale(view, stale) {
    learn(view, { stale });
    say({ view, stale });
  }

  function open() {
    due = Infinity;
    source?.close();
    note();
    const shown = new Map(); // the states of each view
    for (const { view, state } of tabs.values()) shown.set(view, (shown.get(view) ?? new Set()).add(state));
    const views = [...shown.keys()], query = new URLSearchParams({ session });
    known = new Map(views.map((view) => [view, {}]));
    for (const view of views.slice(0, VIEWS_MAX)) {
      for (const state of [...shown.get(view)].slice(0, STATES_MAX)) {
        query.append("view", view);
        query.append("shown", state);
      }
    }
    for (const view of views.slice(VIEWS_MAX)) tellStale(view, { why: `${VIEWS_MAX} other pages are open` });
    const opened = source = new EventSource(`${path}?${query}`);
    source.addEventListener("change", ({ data }) => receive(...JSON.parse(data)));
    source.addEventListener("stale", ({ data }) => tellStale(...JSON.parse(data)));
    source.addEventListener("beat", () => {
      note();
      say({ beat: true });
    });
    source.addEventListener("over", () => say({ connection: { over: true } }));
    source.onerror = () => retry(opened, opened.readyState === EventSource.CLOSED);
  }

  async function retry(broken, isRefused) {
    broken.close();
    known = new Map();
    const since = awaySince() ?? Date.now();
    say({ connection: { since } });
    openWithin(RETRY_MS * (0.5 + Math.random()));
    if (!isRefused) return;
    const answer = await fetch(broken.url, { redirect: "manual", signal }).catch(() => null);
    const why = answer?.status >= 400 ? reasonOf(await answer.text().catch(() => "")) : "";
    if (answer?.ok) answer.body.cancel();
    if (signal.aborted || source !== broken) return;
    if (answer?.type === "opaqueredirect") say({ connection: { over: true } });
    else if (why) say({ connection: { since, why } });
  }

  function forget(id) {
    const gone = tabs.get(id);
    tabs.delete(id);
    if (gone && ![...tabs.values()].some(({ view }) => view === gone.view)) openWithin(LEAVE_MS);
  }

  function hear({ show, leave }) {
    if (leave) forget(leave);
    if (!show) return;
    const { id, view, state } = show, before = tabs.get(id), news = known.get(view);
    tabs.set(id, { view, state, at: Date.now() });
    for (const [other, { at }] of tabs) if (at < Date.now() - 3 * SHOW_MS) forget(other);
    const isAwaited = before?.view === view && before.state === state && news && !news.is;
    if (news?.is === state || isAwaited) say({ view, ...news });
    else openWithin(JOIN_MS);
  }

  const check = setInterval(() => source && Date.now() - heard > SILENT_MS && retry(source, false), CHECK_MS);
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    clearInterval(check);
    source?.close();
  });
  return hear;
}

// Tells whether a change brings up to date who has this state, or finds it so.
function follows(change, state) {
  return change.all || change.was === state || change.is === state;
}

function watch() {
  document.getElementById("connection").hidden = false; // which says that it connects
  const { pathname: path, searchParams } = new URL(main.dataset.live, location.href);
  const session = searchParams.get("session"), view = searchParams.get("view"), id = `${Math.random()}`;
  const name = `prebuild:${path}:${session}`;
  const channel = navigator.locks && new BroadcastChannel(name); // outside of a secure context each tab reads for itself
  let state = searchParams.get("shown"), newest = state, good = Date.now(), since = null;
  let hear = null, heard = Date.now(), seen, timer, check, missed;

  // Speaks to all tabs, with this one.
  function say(message) {
    channel?.postMessage(message);
    heed(message);
  }

  function tellShown() {
    say({ show: { id, view, state } });
  }

  function be(connection) {
    showConnection(connection);
    since = connection.since ?? null;
    if (!connection.since) good = Date.now();
  }

  // Notes that the tab which reads the stream says something, and asks it for what it knows after a silence.
  function listened() {
    const wasSilent = Date.now() - heard > SILENT_MS;
    heard = Date.now();
    if (wasSilent) tellShown();
  }

  function checkSilence() {
    if (Date.now() - heard > SILENT_MS && since === null) be({ since: heard });
  }

  function apply(change) {
    newest = change.is;
    if (!follows(change, state)) { // it is for another tab, or something was missed before
      clearTimeout(missed);
      missed = setTimeout(() => state !== newest && tellShown(), MISSED_MS);
      return;
    }
    if (change.is !== state) show(change);
    state = change.is;
    be({});
  }

  function heed(message) {
    if (message.connection?.over) {
      be(message.connection);
      return finish();
    }
    if (document.hidden) return;
    hear?.(message);
    if (message.beat || message.view) listened();
    if (message.who) tellShown();
    if (message.connection) be(message.connection);
    if (message.view !== view) return;
    if (message.change) apply(message.change);
    else if (message.stale) be({ since: message.stale.since ?? good, why: message.stale.why, stale: true });
    else if (message.is === state) be({});
  }

  // Leaves the lock and the stream to others: the session has ended, and this page with it.
  function finish() {
    document.removeEventListener("visibilitychange", follow);
    stop();
    channel?.close();
  }

  function stop() {
    clearInterval(timer);
    clearInterval(check);
    clearTimeout(missed);
    seen?.abort();
  }

  // Tells whether the session of a page that was loaded long ago has ended: a stream would complain of the log-in page.
  async function hasEnded(signal) {
    if (performance.now() < FRESH_MS) return false;
    const answer = await fetch(`${path}?${new URLSearchParams({ session, view })}`, { redirect: "manual", signal }).catch(() => null);
    answer?.body?.cancel();
    return answer?.type === "opaqueredirect";
  }

  async function begin(signal) {
    if (await hasEnded(signal)) return say({ connection: { over: true } });
    if (signal.aborted) return;
    await new Promise((done) => {
      hear = lead({ path, session, say, awaySince: () => since, signal });
      signal.addEventListener("abort", () => done(hear = null));
      say({ who: true });
    });
  }

  function follow() {
    stop();
    if (document.hidden) return channel?.postMessage({ leave: id });
    seen = new AbortController();
    const { signal } = seen;
    heard = Date.now();
    timer = setInterval(tellShown, SHOW_MS);
    check = setInterval(checkSilence, CHECK_MS);
    tellShown();
    if (channel) navigator.locks.request(name, { signal }, () => begin(signal)).catch(() => {});
    else begin(signal);
  }

  if (channel) channel.onmessage = ({ data }) => heed(data);
  document.addEventListener("visibilitychange", follow);
  follow();
}

if (main) watch();

// Asks for a page. Returns it, or else whether that is because the session has ended.
async function asked(address) {
  const answer = await fetch(address, { redirect: "manual" }).catch(() => null), isOver = answer?.type === "opaqueredirect";
  if (isOver) showConnection({ over: true });
  return { isOver, html: answer?.ok ? await answer.text().catch(() => null) : null };
}

// Makes elements like those of the page as it is now. Returns whether it was loaded, or else whether the session has ended.
async function renewAll(ids) {
  const { isOver, html } = await asked(location.href), isDone = html !== null;
  if (!isDone) return { isOver, isDone };
  const fresh = new DOMParser().parseFromString(html, "text/html");
  showTimes(fresh);
  keepingFocus(() => {
    for (const id of ids) {
      const old = document.getElementById(id), now = fresh.getElementById(id);
      if (old && now) morph(old, document.importNode(now, true));
      else old?.remove();
    }
  });
  return { isOver, isDone };
}

// What changes slowly is no part of the stream: it is read anew while somebody sees it.

const slow = [...document.querySelectorAll("[data-slow]")].map(({ id }) => id);
const SLOW_MS = 60000;

async function renewSlow() {
  if (document.hidden) return document.addEventListener("visibilitychange", renewSlow, { once: true });
  const { isOver } = await renewAll(slow);
  if (!isOver) setTimeout(renewSlow, SLOW_MS);
}

if (slow.length) setTimeout(renewSlow, SLOW_MS);

// The output of a build that has not ended: what it writes is appended.

const output = document.querySelector("[data-follow]");
const FOLLOW_MS = 1000;
const FACTS = ["build-status", "build-facts"]; // change as the build goes on
const END = [...FACTS, "log-state"]; // changes at its end

function append(piece) {
  const page = document.scrollingElement, isAtEnd = page.scrollTop + innerHeight >= page.scrollHeight - 40;
  output.append(piece);
  if (isAtEnd) page.scrollTop = page.scrollHeight;
}

function followOutput() {
  let { after, facts } = output.lastElementChild.dataset, since = null;
  async function look() {
    if (document.hidden) return document.addEventListener("visibilitychange", look, { once: true });
    const { isOver, html } = await asked(`${output.dataset.follow}?${new URLSearchParams({ after })}`);
    if (isOver) return;
    let isUpToDate = html !== null;
    if (isUpToDate) {
      const piece = parsed(html), hasEnded = "ended" in piece.dataset;
      after = piece.dataset.after;
      if (piece.textContent) append(piece);
      if (hasEnded || piece.dataset.facts !== facts) {
        const renewed = await renewAll(hasEnded ? END : FACTS);
        if (renewed.isOver) return;
        isUpToDate = renewed.isDone;
      }
      if (isUpToDate) facts = piece.dataset.facts;
      if (isUpToDate && hasEnded) return showConnection({});
    }
    showConnection({ since: since = isUpToDate ? null : since ?? Date.now() });
    setTimeout(look, FOLLOW_MS);
  }
  document.getElementById("log-state").textContent = "What the build writes is shown as it comes.";
  look();
}

if (output && !("ended" in output.lastElementChild.dataset)) followOutput();
