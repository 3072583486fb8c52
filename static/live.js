// The live connection: says how fresh the page is, keeps the band true, and hands events to the page's own module.
import { io } from "/static/vendor/vendor.js";

const byId = (id) => document.getElementById(id);
const seen = new Set();
const listeners = [];
let newest = Number(document.body.dataset.last || 0);
let heardAt = performance.now();
let connected = false;
let lostAt = 0;

export const clockOf = (at) => new Date(at).toLocaleTimeString([], { hour12: false });

export function timeElement(at) {
  const time = document.createElement("time");
  time.dateTime = at;
  time.title = `${new Date(at).toLocaleString()} · ${at} UTC`;
  time.textContent = clockOf(at);
  return time;
}

export function shape(name, tone) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", `shape ${tone}`);
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/static/shapes.svg#${name}`);
  svg.append(use);
  return svg;
}

export function text(tag, content, className = "") {
  const element = document.createElement(tag);
  element.textContent = content;
  if (className) element.className = className;
  return element;
}

// listener(events, gap): new events, oldest first; with gap there were more than could be sent.
export function onEvents(listener) { listeners.push(listener); }

for (const element of document.querySelectorAll("time[datetime]")) element.replaceWith(timeElement(element.dateTime));
for (const row of document.querySelectorAll("[data-id]")) seen.add(Number(row.dataset.id));

const socket = io({ transports: ["websocket", "polling"], auth: (give) => give({ since: newest }) });
socket.on("connect", () => { connected = true; heardAt = performance.now(); say(); });
socket.on("disconnect", () => { connected = false; lostAt = performance.now(); say(); });
socket.on("connect_error", () => { if (connected || !lostAt) lostAt = performance.now(); connected = false; say(); });
socket.io.engine?.on("packet", () => { heardAt = performance.now(); });
socket.io.on("ping", () => { heardAt = performance.now(); });

socket.on("events", ({ events, gap }) => {
  heardAt = performance.now();
  const fresh = events.filter((event) => !seen.has(event.id));
  for (const event of fresh) { seen.add(event.id); newest = Math.max(newest, event.id); }
  if (seen.size > 5000) for (const id of [...seen].sort((a, b) => a - b).slice(0, 2500)) seen.delete(id);
  if (fresh.length || gap) listeners.forEach((listener) => listener(fresh, gap)); // ten times a second at the most
});

let shown = "";
socket.on("snapshot", (state) => {
  heardAt = performance.now();
  const { band } = state;
  const key = `${band.name} ${band.cause} ${band.pinned} ${state.needs_you}`;
  if (shown && shown !== key) {
    // The band's buttons and the needs follow the level: the server writes them, we only fetch them anew.
    refresh(["#band", ".modes", "#needs-title", "#needs-title + .card", ".brand"]);
  }
  shown = key;
});

export async function refresh(selectors) {
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const selector of selectors) {
      const [here, there] = [document.querySelector(selector), page.querySelector(selector)];
      if (here && there) here.replaceWith(document.adoptNode(there));
    }
    for (const element of document.querySelectorAll("time[datetime]")) {
      if (!element.title.includes("·")) element.replaceWith(timeElement(element.dateTime));
    }
  } catch { /* the connection's own lamp tells */ }
}

function say() {
  const live = byId("live");
  const stale = !connected && lostAt;
  live.classList.toggle("on", connected);
  live.classList.toggle("stale", Boolean(stale));
  byId("live-text").textContent = connected ? "Live" : stale
    ? `Disconnected ${Math.max(0, Math.round((performance.now() - lostAt) / 1000))} s, retrying` : "Connecting";
}
setInterval(say, 1000);
say();
