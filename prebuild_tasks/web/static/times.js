// Shows instants in the viewer's zone, and UTC on hover. Pages work without this script.
"use strict";

const today = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const thisYear = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const otherYear = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const ofDay = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "2-digit", month: "short" });
const ofMonth = new Intl.DateTimeFormat(undefined, { day: "2-digit", month: "short" });
const ofZone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });
const DAY_MS = 86400000;
const AXIS_MARGIN = 24; // the times of an axis stay so far from its ends

function localTime(at, now) {
  if (at.toDateString() === now.toDateString()) return today.format(at);
  return (at.getFullYear() === now.getFullYear() ? thisYear : otherYear).format(at);
}

// Returns by how much the clocks of UTC are ahead of the viewer's.
function ahead(at) {
  return new Date(at).getTimezoneOffset() * 60000;
}

// Redraws the times of an axis at round times of the viewer's zone.
function showAxis(axis) {
  const [since, until, every, left, right] = ["since", "until", "every", "left", "right"].map((name) => Number(axis.dataset[name]));
  const form = every < DAY_MS ? today : every === DAY_MS ? ofDay : ofMonth, pattern = axis.firstElementChild, ticks = [];
  for (let local = Math.ceil((since - ahead(since)) / every) * every; pattern && local < until + DAY_MS; local += every) {
    const at = local + ahead(local + ahead(local)), x = left + ((right - left) * (at - since)) / (until - since);
    if (x < left + AXIS_MARGIN || x > right - AXIS_MARGIN) continue;
    const tick = pattern.cloneNode(true), text = tick.querySelector("text");
    tick.setAttribute("transform", `translate(${x.toFixed(1)})`);
    text.firstChild.data = form.format(at);
    text.querySelector("title").textContent = `${new Date(at).toISOString().slice(0, 16).replace("T", " ")} UTC`;
    ticks.push(tick);
  }
  axis.replaceChildren(...ticks);
}

// A field holds an instant by the viewer's clock; forms send and get it in UTC.
function showField(field) {
  const at = Date.parse(`${field.defaultValue}Z`);
  if (Number.isNaN(at) || field.dataset.local) return;
  field.setAttribute("value", new Date(at - ahead(at)).toISOString().slice(0, 19));
  field.dataset.local = "yes";
}

document.addEventListener("formdata", ({ target, formData }) => {
  for (const { name, value } of target.querySelectorAll("input[type=datetime-local]")) {
    if (value) formData.set(name, new Date(value).toISOString().slice(0, 19));
  }
});

// Returns the properties of an element that shows an instant.
function inZone(at) {
  const utc = at.toISOString();
  return { dateTime: utc, title: `${utc.slice(0, 19).replace("T", " ")} UTC`, textContent: localTime(at, new Date()) };
}

function showTimes(root) {
  const now = new Date();
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (!Number.isNaN(at.getTime())) element.textContent = localTime(at, now);
  }
  for (const place of root.querySelectorAll("[data-zone]")) {
    const short = ofZone.formatToParts(now).find(({ type }) => type === "timeZoneName").value;
    place.textContent = place instanceof SVGElement ? short : ofZone.resolvedOptions().timeZone;
  }
  for (const title of root.querySelectorAll("svg :not(text) > title")) {
    title.textContent = title.textContent.replace(/(?<!\()\w{3} ([\d-]{10}) ([\d:]{5}) UTC/g,
      (utc, day, time) => `${localTime(new Date(`${day}T${time}Z`), now)} (${utc})`);
  }
  root.querySelectorAll("svg [data-since]").forEach(showAxis);
  root.querySelectorAll("input[type=datetime-local]").forEach(showField);
}

showTimes(document);

// A time of today has no date, which it needs once today is over.
let shownOn = new Date().toDateString();
setInterval(() => {
  if (shownOn === new Date().toDateString()) return;
  shownOn = new Date().toDateString();
  showTimes(document);
}, 60000);
