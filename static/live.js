// The live connection: says how fresh the page is, keeps the band true, sends commands, and hands events to the page's
// own module. Whatever an agent wrote enters the page as text, never as markup.
import { io } from "/static/vendor/vendor.js";

const STALE_AFTER_MS = 4000;
const PROBE_AFTER_MS = 2000;
const MAX_HELD = 200;
const AGAIN_MS = 1000;
const byId = (id) => document.getElementById(id);
const csrf = document.querySelector('meta[name="csrf-token"]').content;

// Times: local, with the date if it is not today's, and UTC in the tooltip.

const UTC = "winclaw-utc";
/** The time zone that times are shown in; undefined is this machine's. */
export const timeZone = localStorage.getItem(UTC) ? "UTC" : undefined;
const utcOf = (at) => `${at.slice(0, 10)} ${at.slice(11, 19)} UTC`;

function clockOf(at, now = new Date()) {
  const then = new Date(at);
  const date = { day: "numeric", month: "short", ...(then.getFullYear() === now.getFullYear() ? {} : { year: "numeric" }) };
  const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone };
  const [day, today] = [then, now].map((one) => one.toLocaleDateString([], { timeZone }));
  const said = day === today
    ? then.toLocaleTimeString([], { ...clock, second: "2-digit" })
    : `${then.toLocaleDateString([], { ...date, timeZone })} ${then.toLocaleTimeString([], clock)}`;
  return timeZone ? `${said} UTC` : said;
}

function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const clock = clockOf(time.dateTime);
    time.textContent = time.dataset.short === undefined ? clock : clock.replace(/(\d\d:\d\d)(:\d\d)?( UTC)?$/, "$1");
    time.title = utcOf(time.dateTime);
  }
  for (const title of root.querySelectorAll("title[data-times]")) {
    const { since, until, times } = title.dataset;
    const local = until === undefined ? clockOf(since) : `${clockOf(since)} to ${until ? clockOf(until) : "now"}`;
    title.textContent = title.textContent.replace(times, () => `${local} (from ${utcOf(since)})`);
    delete title.dataset.times;
  }
}

// Small pieces, as the templates make them.

export function text(tag, content, className = "") {
  const element = document.createElement(tag);
  element.textContent = content;
  if (className) element.className = className;
  return element;
}

export function timeElement(at) {
  const time = text("time", clockOf(at));
  time.dateTime = at;
  time.title = utcOf(at);
  return time;
}

function shape(name, tone) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of [["class", `shape ${tone}`], ["viewBox", "0 0 16 16"], ["aria-hidden", "true"]]) svg.setAttribute(key, value);
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/static/shapes.svg#${name}`);
  svg.append(use);
  return svg;
}

export function said({ line, severity }) {
  const what = text(line.href ? "a" : "span", line.text, "what");
  if (line.href) what.href = line.href;
  const paragraph = text("p", "", "said");
  paragraph.append(shape(line.shape, line.tone), ...(severity ? [text("span", `${severity}:`, "unseen")] : []), what);
  return paragraph;
}

// Events: each once and in order; the server sends ten batches a second at the most. What the page was made with comes no more.

let newest = Number(document.body.dataset.last ?? NaN); // of a page that shows none, none is asked for
let eventListener = () => {};

/** Has `listen(events, gap)` called with new events, oldest first; with `gap` there were more before them than could be sent. */
export function onEvents(listen) { eventListener = listen; }

function take({ events, gap }) {
  const fresh = events.filter((event) => event.id > newest);
  newest = fresh.at(-1)?.id ?? newest;
  if (fresh.length || gap) eventListener(fresh, gap);
}

/** Whether new rows shine; in a storm, nothing flashes. */
export const shine = (events) => events.length <= 3;

const rest = (ms) => new Promise((wait) => setTimeout(wait, Math.max(0, ms)));

/**
 * Gives `show(events)` what comes in. At a gap `fetchAnew()` brings what is missing, too, and says up to which event: what of it
 * comes in later is not shown again. If it says nothing, the server could not be asked, and is asked again; in a flood, once a second.
 */
export function gapless(show, fetchAnew) {
  let waiting = null;
  let again = false;
  let askedAt = -Infinity;
  let upTo = -Infinity;
  const tell = (events) => {
    const later = events.filter((event) => event.id > upTo);
    if (later.length) show(later);
  };
  return async (events, gap) => {
    if (waiting) {
      again ||= gap || waiting.length + events.length > MAX_HELD;
      waiting = [...waiting, ...events].slice(-MAX_HELD);
    } else if (gap) {
      waiting = events;
      let last;
      do {
        await rest(askedAt + AGAIN_MS - performance.now());
        askedAt = performance.now();
        again = false;
        last = await fetchAnew();
      } while (again || last === undefined);
      const held = waiting;
      [waiting, upTo] = [null, last];
      tell(held);
    } else {
      tell(events);
    }
  };
}

/** Gives `show(events, gap)` what comes in, or holds the newest of it while `button` says so. */
export function pausable(button, show) {
  let held = [];
  let gapHeld = false;
  let paused = false;
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.classList.toggle("on", paused);
    button.textContent = paused ? "Go on (0 waiting)" : "Pause";
    if (paused) return;
    show(held, gapHeld);
    [held, gapHeld] = [[], false];
  });
  return (events, gap) => {
    if (!paused) { show(events, gap); return; }
    held = [...held, ...events];
    gapHeld ||= gap || held.length > MAX_HELD;
    held = held.slice(-MAX_HELD);
    button.textContent = `Go on (${gapHeld ? "more than " : ""}${held.length} waiting)`;
  };
}

// Parts that the server writes are fetched anew, not written twice.

const keyOf = (element) => element.getAttribute("href") ?? element.getAttribute("aria-label") ?? (element.value || element.closest("[data-key]")?.dataset.key);

/** What in `root` is the same as `element`, which has the focus; null if it is gone. */
function twin(element, root) {
  return [...root.querySelectorAll(element.tagName)].find((other) => keyOf(other) === keyOf(element)) ?? null;
}

let pressed = false;
for (const [name, now] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]]) {
  document.addEventListener(name, () => { pressed = now; }, true);
}

let refreshing = Promise.resolve();
let next = null; // what is to be replaced as soon as that is done: however much is asked for, one page is fetched at a time

/**
 * Replaces the elements with these ids by what the server shows now; folds stay, and focus where it can.
 * Returns the id of the last event in it; nothing, if the server cannot be asked.
 */
export function refresh(...ids) {
  if (!next) {
    const mine = next = { ids: new Set() };
    mine.done = refreshing = refreshing.catch(() => {}).then(() => {
      next = null;
      return replace([...mine.ids]);
    });
  }
  ids.forEach((id) => next.ids.add(id));
  return next.done;
}

let old = ""; // why parts of the page are older than the lamp says
const unread = new Set();
let reading = 0;

function again(ids) {
  ids.forEach((id) => unread.add(id));
  reading ||= setTimeout(() => { reading = 0; refresh(...unread); unread.clear(); }, AGAIN_MS);
  look();
}

async function replace(ids) {
  let page;
  try {
    const answer = await fetch(document.querySelector("[data-from]")?.dataset.from ?? location.href);
    old = answer.ok ? "" : `the server answered ${answer.status}`;
    if (!answer.ok) { again(ids); return undefined; }
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    if (connected) { old = "no answer"; again(ids); } // otherwise the lamp tells
    return undefined;
  }
  while (pressed) await rest(50); // a button that is replaced is not clicked
  for (const id of ids) {
    const [here, there] = [byId(id), page.getElementById(id)];
    if (!here || !there) continue;
    const focused = here.contains(document.activeElement) ? document.activeElement : null;
    const row = focused?.closest("[data-key]");
    const heir = focused && (twin(focused, there)
      ?? (row && there.querySelector(`[data-key="${CSS.escape(row.dataset.key)}"]`)?.querySelector("button, a, summary")));
    if (focused && !heir && focused.matches("input, textarea, select")) continue; // somebody is typing
    for (const details of there.querySelectorAll("details[data-key]")) {
      const known = here.querySelector(`details[data-key="${CSS.escape(details.dataset.key)}"]`);
      if (known) details.open = known.open;
    }
    localise(there);
    here.replaceWith(document.adoptNode(there));
    if (focused && !heir) there.tabIndex = -1;
    if (focused) (heir ?? there).focus({ preventScroll: true });
  }
  return Number(page.body.dataset.last);
}

/** A function that refreshes `ids`, now and then at most, however often it is called; always once more after the last call. */
export function refresher(every_ms, ...ids) {
  let due = 0;
  return () => { due ||= setTimeout(() => { due = 0; refresh(...ids); }, every_ms); };
}

// How fresh is this? A silent connection is asked; what does not answer is stale.

let heardAt = performance.now();
let connected = false;
let signedOut = false;
let asking = false;
let lamp = "";

async function ask() {
  asking = true;
  try {
    const answer = await fetch("/api/v1/state", { signal: AbortSignal.timeout(PROBE_AFTER_MS) });
    signedOut = answer.status === 401;
    if (signedOut) socket.disconnect();
    if (answer.ok) {
      heard();
      if (!socket.active) socket.connect();
    }
  } catch { /* silence is the answer */ }
  asking = false;
}

const heard = () => { heardAt = performance.now(); };

function look() {
  if (document.hidden) return;
  const silent_ms = performance.now() - heardAt;
  if (silent_ms > PROBE_AFTER_MS && !asking && !signedOut) ask();
  const fresh = silent_ms < STALE_AFTER_MS;
  const now = signedOut ? "out" : connected && fresh ? (old ? "old" : "on") : lamp === "" && fresh ? "" : "stale";
  byId("live-text").textContent = {
    "": "Connecting", on: "Live", old: `Out of date: ${old}, retrying`, stale: `Disconnected ${Math.round(silent_ms / 1000)} s, retrying`, out: "Signed out: open the dashboard again from the tray",
  }[now];
  const checked = byId("checked");
  if (checked) checked.textContent = `${Math.round(silent_ms / 1000)} s ago`;
  if (now === lamp) return;
  byId("live").classList.toggle("on", now === "on");
  const isStale = !["", "on"].includes(now);
  byId("live").classList.toggle("stale", isStale);
  document.body.classList.toggle("stale-page", isStale);
  if (now === "on" && ["stale", "old"].includes(lamp)) announce("Live again.");
  if (isStale) announce(now === "old" ? "Parts of this page are out of date." : "Disconnected. What is shown may be out of date.");
  lamp = now;
}

// The level, said at most once in three seconds to those who listen, shown at once to those who look.

let announcing = 0;
let announcedAt = -Infinity;
let sentence = "";
function announce(words) {
  sentence = words;
  announcing ||= setTimeout(() => {
    byId("announced").textContent = sentence;
    [announcing, announcedAt] = [0, performance.now()];
  }, Math.max(100, announcedAt + 3000 - performance.now()));
}

let shown;
let stateListener = () => {};
/** Has `listen(state)` called with each snapshot that is newer than the page. */
export function onState(listen) { stateListener = listen; }

function showLevel(band) {
  const title = `Level ${band.number} of 5 · ${band.title}`;
  if (byId("band-title").textContent !== title) announce(`${title}. ${band.cause}`);
  byId("band").className = `band ${band.tone}`;
  byId("band-title").textContent = title;
  byId("band-cause").textContent = band.cause;
  byId("band-since").replaceChildren(timeElement(band.since));
  const also = band.also.flatMap((words) => [words, " "]);
  if (band.rises) {
    also.push(`If all stays well, ${band.rises.title} at `, timeElement(band.rises.at), ".");
  }
  byId("band-also").replaceChildren(...also);
  document.querySelector("#band .level .shape").replaceWith(shape(band.shape, band.tone));
  document.querySelectorAll(".ladder li").forEach((step, place) => step.classList.toggle("on", place + 1 === band.number));
  const [enter, leave, safe] = [byId("enter"), byId("leave"), band.name === "SAFE_MODE"];
  const focused = enter.contains(document.activeElement) || document.activeElement === leave;
  enter.hidden = safe;
  leave.hidden = !safe;
  if (focused) (safe ? leave : enter.querySelector("button")).focus();
  document.title = document.title.replace(/^[^·]*/, `${band.title} `);
}

// The server counts versions of all that pages show; what it counts, no page need compare.
let version = Number(document.body.dataset.version);

function takeState(state) {
  const band = JSON.stringify(state.band);
  if (band !== shown) showLevel(state.band);
  shown = band;
  if (state.version === version) return;
  version = state.version;
  stateListener(state);
}

// Commands: the forms work by themselves; with scripts the page stays where it is.

let commanding = false;

async function command(level) {
  const trouble = byId("trouble");
  trouble.textContent = "";
  commanding = true;
  try {
    const answer = await fetch("/api/v1/level", {
      method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf }, body: JSON.stringify({ level }), signal: AbortSignal.timeout(12000),
    });
    if (answer.status === 409) location.assign("/safe-mode");
    else if (!answer.ok) trouble.textContent = `That did not work: ${(await answer.json()).detail}`;
    else if (location.pathname === "/safe-mode") location.assign("/");
  } catch {
    trouble.textContent = "WinClaw does not answer, so the level may not have changed. The tray and “winclaw safe-mode” can do the same.";
  }
  commanding = false;
}

/** Sends a form of a live part, which then shows what has come of it. */
async function decide(form) {
  if (form.dataset.here === "busy") return;
  form.dataset.here = "busy";
  const trouble = byId("trouble");
  trouble.textContent = "";
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual", signal: AbortSignal.timeout(12000) });
    if (answer.type === "opaqueredirect") await refresh(form.closest("section").id);
    else {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      trouble.textContent = `That did not work: ${page.querySelector("main p")?.textContent ?? answer.status}`;
    }
  } catch {
    trouble.textContent = "WinClaw does not answer, so it may not have been done. Look again when the page is live.";
  }
  form.dataset.here = "";
}

document.addEventListener("submit", (submitted) => {
  const form = submitted.target;
  if (form.dataset.here !== undefined) {
    submitted.preventDefault();
    decide(form);
    return;
  }
  if (form.dataset.level === undefined) return;
  submitted.preventDefault();
  if (!commanding) command(submitted.submitter.value);
});
document.addEventListener("keydown", (key) => { if (key.key === "Escape") document.body.classList.add("dismissed"); });
document.addEventListener("pointermove", (pointer) => { if (!pointer.target.closest(".off-switch")) document.body.classList.remove("dismissed"); });
document.addEventListener("focusout", () => document.body.classList.remove("dismissed"));

// What the footer offers, and the keyboard, which is loaded when it is first used.

const keyboard = () => import("/static/keyboard.js");
let press;
document.addEventListener("keydown", async (key) => {
  press ??= (await keyboard().catch(() => null))?.press; // where nobody answers, keys do nothing
  press?.(key);
});
const OFFERS = {
  help: async () => (await keyboard()).help(),
  print: () => print(),
  utc: () => {
    if (timeZone) localStorage.removeItem(UTC);
    else localStorage.setItem(UTC, "yes");
    location.reload();
  },
};
document.addEventListener("click", ({ target }) => OFFERS[target.closest("[data-do]")?.dataset.do]?.());
document.querySelector("[data-do=utc]")?.setAttribute("aria-pressed", String(timeZone === "UTC"));
addEventListener("beforeprint", () => {
  const at = new Date().toISOString();
  byId("printed").textContent = `${lamp === "on" ? "Printed" : "Out of date when it was printed,"} ${clockOf(at)} (${utcOf(at)})`;
});

localise(document);
const socket = io({
  transports: ["websocket", "polling"], reconnectionDelay: 500, reconnectionDelayMax: 2000,
  auth: (give) => give(Number.isNaN(newest) ? {} : { since: newest }),
});
socket.on("connect", () => { connected = true; signedOut = false; heard(); look(); });
socket.on("disconnect", () => { connected = false; version = null; look(); }); // WinClaw, started anew, counts from the beginning
socket.on("events", (message) => { heard(); take(message); });
socket.on("snapshot", (state) => { heard(); takeState(state); });
document.addEventListener("visibilitychange", () => {
  heardAt = Math.max(heardAt, performance.now() - PROBE_AFTER_MS); // nobody looked meanwhile: first ask, then judge
  signedOut = false;
  look();
});
setInterval(look, 500);
