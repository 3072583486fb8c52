// The overview, live: what happened, errors a minute, and what the server counts.
import { uPlot } from "/static/vendor/vendor.js";
import { gapless, onEvents, onState, pausable, refresh, refresher, said, shine, text, timeElement, timeZone } from "/static/live.js";

// What happened: an error that comes again before anything else does takes its earlier line's place, and its count.

const MAX_SHOWN = 20;
const MAX_ITEMS = 60;

function item(event, shines, feed) {
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

function tell(events) {
  const feed = document.getElementById("feed");
  for (const event of events) feed.prepend(item(event, shine(events), feed));
  const hidden = [...feed.children].filter((li) => li.hidden);
  hidden.slice(MAX_ITEMS - MAX_SHOWN).forEach((li) => li.remove());
  [...feed.children].filter((li) => !li.hidden).slice(MAX_SHOWN).forEach((li) => li.remove());
}

// Errors a minute.

const holder = document.getElementById("rate");
const heading = document.getElementById("rate-said");
const hhmm = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone });
let table, at, counts;

function readTable() {
  table = document.querySelector("#rate-table tbody");
  at = [...table.rows].map((row) => Number(row.cells[0].dataset.at));
  counts = [...table.rows].map((row) => Number(row.cells[1].textContent));
  [...table.rows].forEach((row, place) => { row.cells[0].textContent = hhmm(at[place]); });
}
readTable();

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
    row.cells[0].dataset.at = at[at.length - 1];
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

// The timeline: of each lane one span is reached by Tab and the others by the arrow keys; what has the focus, or the pointer, is
// said below; and a click shows the moment that it hits, not only the one at which the span began.

const timeline = () => document.getElementById("timeline");
const saidOfTimeline = () => document.getElementById("timeline-said");
const spansOf = (track) => [...track.querySelectorAll("a")];

function rove() {
  for (const track of timeline().querySelectorAll(".track")) {
    const spans = spansOf(track);
    const stop = spans.find((one) => one === document.activeElement) ?? spans.find((one) => one.ariaCurrent) ?? spans.at(-1);
    for (const one of spans) one.setAttribute("tabindex", one === stop ? "0" : "-1");
  }
}

const renew = (...ids) => refresh(...ids).then(rove);
const middleOf = (element) => { const box = element.getBoundingClientRect(); return box.left + box.width / 2; };

document.addEventListener("keydown", (key) => {
  const [span, track] = [key.target.closest?.("#timeline a.box"), key.target.closest?.("#timeline .track")];
  if (!span || key.ctrlKey || key.altKey || key.metaKey) return;
  const spans = spansOf(track);
  const place = spans.indexOf(span);
  let next;
  if (key.key === "ArrowLeft") next = spans[place - 1];
  else if (key.key === "ArrowRight") next = spans[place + 1];
  else if (key.key === "Home") next = spans[0];
  else if (key.key === "End") next = spans.at(-1);
  else if (key.key === "ArrowUp" || key.key === "ArrowDown") {
    const tracks = [...timeline().querySelectorAll(".track:has(a)")];
    const other = tracks[tracks.indexOf(track) + (key.key === "ArrowUp" ? -1 : 1)];
    const near = (one) => Math.abs(middleOf(one) - middleOf(span));
    next = other && spansOf(other).sort((one, another) => near(one) - near(another))[0];
  } else return;
  key.preventDefault();
  next?.focus();
  rove();
});

for (const coming of ["focusin", "pointerover"]) {
  document.addEventListener(coming, (event) => {
    const span = event.target.closest?.("#timeline a.box");
    if (span) saidOfTimeline().textContent = span.querySelector("title").textContent;
  });
}

document.addEventListener("click", (click) => {
  const track = click.target.closest?.("#timeline .track");
  if (!track || click.detail === 0 || click.button !== 0 || click.ctrlKey || click.metaKey || click.shiftKey) return;
  const [span, whole] = [click.target.closest("a.box"), track.getBoundingClientRect()];
  if (span && span.querySelector(".reach").getBoundingClientRect().width < 40) return; // the link knows it better
  const { since, until, window: shown } = timeline().dataset;
  const [from, to] = [Date.parse(since), Date.parse(until)];
  const moment = new Date(Math.min(from + (to - from) * (click.clientX - whole.left) / whole.width, Date.now()));
  click.preventDefault();
  location.assign(`/?${new URLSearchParams({ window: shown, at: moment.toISOString(), of: track.dataset.of })}`);
});
rove();

// All together. Where a moment is shown, what happened then stands still.

const isStill = document.getElementById("shown") !== null;

const recount = refresher(5000, "troubles");
const feedTakes = gapless(tell, () => refresh("feed", "troubles"));
const show = isStill ? () => {} : pausable(document.getElementById("pause"), (events, gap) => {
  feedTakes(events, gap);
  recount();
});
const chartTakes = gapless((events) => {
  advance(Math.floor(Date.now() / 60000) * 60);
  events.filter((event) => event.type === "error").forEach(count);
  draw();
}, async () => {
  const last = await refresh("rate-table");
  readTable();
  draw();
  return last;
});
onEvents((events, gap) => {
  show(events, gap);
  chartTakes(events, gap);
});
onState(() => renew("needs", "timeline", "agents", "services", "mode"));
setInterval(() => { if (!document.hidden) renew("machine", "timeline", "agents"); }, 30000);
