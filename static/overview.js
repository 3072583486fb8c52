// The overview, live: what happened, errors a minute, and what the server counts.
import { uPlot } from "/static/vendor/vendor.js";
import { onEvents, onState, pausable, refresh, refresher, said, shine, text, timeElement, timeZone } from "/static/live.js";

// What happened: an error that comes again before anything else does takes its earlier line's place, and its count.

const MAX_SHOWN = 20;
const MAX_ITEMS = 60;
const feed = document.getElementById("feed");

function item(event, shines) {
  let times = 1;
  if (event.type === "error") {
    for (const older of feed.children) {
      if (!older.dataset.fingerprint) break;
      if (older.dataset.fingerprint !== event.fingerprint || older.hidden) continue;
      times += Number(older.dataset.times);
      older.hidden = true;
      break;
    }
  }
  const li = text("li", "", shines ? "fresh" : "");
  li.dataset.id = event.id;
  li.dataset.times = times;
  if (event.fingerprint) li.dataset.fingerprint = event.fingerprint;
  const detail = text("small", "", "two");
  if (times > 1) detail.append(text("b", `×${times}`, "tag"), " ");
  detail.append(event.line.detail);
  const body = document.createElement("div");
  body.append(said(event), detail);
  li.append(timeElement(event.at), body);
  return li;
}

function trim() {
  const hidden = [...feed.children].filter((li) => li.hidden);
  hidden.slice(MAX_ITEMS - MAX_SHOWN).forEach((li) => li.remove());
  [...feed.children].filter((li) => !li.hidden).slice(MAX_SHOWN).forEach((li) => li.remove());
}

// Errors a minute.

const holder = document.getElementById("rate");
const heading = document.getElementById("rate-said");
const table = document.querySelector("#rate-table tbody");
const hhmm = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone });
const at = [...table.rows].map((row) => Number(row.cells[0].dataset.at));
const counts = [...table.rows].map((row) => Number(row.cells[1].textContent));
[...table.rows].forEach((row, place) => { row.cells[0].textContent = hhmm(at[place]); });

const colour = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
const size = () => ({ width: Math.max(holder.clientWidth, 100), height: 150 });
const totalSaid = () => { const total = counts.reduce((sum, count) => sum + count, 0); return `${total || "none"} in the last hour`; };

holder.replaceChildren();
const chart = new uPlot({
  ...size(), legend: { show: false }, padding: [8, 18, 0, 0], cursor: { y: false, points: { show: false }, drag: { x: false } },
  scales: { x: { range: () => [at[0] - 30, at[at.length - 1] + 30] }, y: { range: (_, low, high) => [0, Math.max(4, Math.ceil(high * 1.1))] } },
  axes: [
    { ...axis, grid: { show: false }, size: 26, values: (_, moments) => moments.map(hhmm) },
    { ...axis, size: 36, space: 40, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 10000] },
  ],
  series: [{}, { stroke: colour("--bad"), fill: colour("--bad"), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 14] }) }],
  hooks: { setCursor: [({ cursor: { idx } }) => { heading.textContent = idx === null || idx === undefined ? totalSaid() : `${counts[idx]} at ${hhmm(at[idx])}`; }] },
}, [at, counts], holder);
new ResizeObserver(() => chart.setSize(size())).observe(holder);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.redraw());

function advance(minute) {
  if (minute - at[at.length - 1] > 3600) { location.reload(); return; } // the machine slept
  while (at[at.length - 1] < minute) {
    at.push(at[at.length - 1] + 60);
    counts.push(0);
    const row = table.insertRow();
    row.insertCell().textContent = hhmm(at[at.length - 1]);
    row.insertCell().textContent = "0";
    row.cells[1].className = "n";
    at.shift();
    counts.shift();
    table.deleteRow(0);
  }
}

function count(event) {
  const place = at.indexOf(Math.floor(Date.parse(event.at) / 60000) * 60);
  if (place < 0) return;
  counts[place] += 1;
  table.rows[place].cells[1].textContent = counts[place];
}

function draw() {
  chart.setData([at, counts]);
  heading.textContent = totalSaid();
}

setInterval(() => { advance(Math.floor(Date.now() / 60000) * 60); draw(); }, 15000);

// All together.

const recount = refresher(5000, "troubles");
const show = pausable(document.getElementById("pause"), (events, gap) => {
  for (const event of events) feed.prepend(item(event, shine(events)));
  trim();
  if (events.length || gap) recount();
});
onEvents((events, gap) => {
  show(events, gap);
  const errors = events.filter((event) => event.type === "error");
  if (!errors.length) return;
  advance(Math.floor(Date.now() / 60000) * 60);
  errors.forEach(count);
  draw();
});
onState(() => refresh("needs", "agents", "services", "mode"));
setInterval(() => { if (!document.hidden) refresh("machine"); }, 30000);
