// The overview, live: what happened, errors a minute, and what the server counts.
import { clock, countDown, draw, renew } from "/static/charts.js";
import { gapless, onEvents, onState, pausable, refresh, refresher, said, shine, text, timeElement } from "/static/live.js";

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

const minutes = () => document.querySelector("#rate-table tbody");
const lastMinute = () => Number(minutes().rows[minutes().rows.length - 1].cells[0].dataset.at);

function advance(minute) {
  if (minute - lastMinute() > 3600) { location.reload(); return; } // the machine slept
  const table = minutes();
  while (lastMinute() < minute) {
    const row = table.rows[0].cloneNode(true);
    const at = lastMinute() + 60;
    row.cells[0].dataset.at = at;
    row.cells[0].textContent = clock(at);
    row.cells[1].dataset.value = row.cells[1].textContent = "0";
    table.append(row);
    table.deleteRow(0);
  }
}

function count(event) {
  const at = Math.floor(Date.parse(event.at) / 60000) * 60;
  const cell = minutes().querySelector(`[data-at="${at}"]`)?.nextElementSibling;
  if (cell) cell.dataset.value = cell.textContent = Number(cell.dataset.value) + 1;
}

const nowMinute = () => Math.floor(Date.now() / 60000) * 60;
setInterval(() => { advance(nowMinute()); draw("rate"); }, 15000);

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

const anew = (...ids) => refresh(...ids).then(rove);
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
  const errors = events.filter((event) => event.type === "error");
  if (!errors.length) return;
  advance(nowMinute());
  errors.forEach(count);
  draw("rate");
}, async () => {
  const last = await refresh("rate-table");
  draw("rate");
  return last;
});
onEvents((events, gap) => {
  show(events, gap);
  chartTakes(events, gap);
});
onState(() => anew("needs", "timeline", "agents", "services", "mode"));
setInterval(() => { if (!document.hidden) anew("machine", "timeline", "agents"); }, 30000);
setInterval(() => { if (!document.hidden) refresh("services"); }, 10000);
setInterval(() => { if (!document.hidden) renew("rate"); }, 60000);
countDown(() => refresh("services"));
