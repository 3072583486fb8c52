// The overview, live: what happened, errors a minute, and what the server counts.
import { clock, countDown, draw, renew } from "/static/charts.js";
import { onEvents, onState, pausable, refresh, refresher, said, shine, text, timeElement } from "/static/live.js";

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

const table = document.querySelector("#rate-table tbody");
const lastMinute = () => Number(table.rows[table.rows.length - 1].cells[0].dataset.at);

function advance(minute) {
  if (minute - lastMinute() > 3600) { location.reload(); return; } // the machine slept
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
  const cell = table.querySelector(`[data-at="${at}"]`)?.nextElementSibling;
  if (cell) cell.dataset.value = cell.textContent = Number(cell.dataset.value) + 1;
}

const nowMinute = () => Math.floor(Date.now() / 60000) * 60;
setInterval(() => { advance(nowMinute()); draw("rate"); }, 15000);

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
  advance(nowMinute());
  errors.forEach(count);
  draw("rate");
});
onState(() => refresh("needs", "agents", "services", "mode"));
setInterval(() => { if (!document.hidden) refresh("machine"); }, 30000);
setInterval(() => { if (!document.hidden) refresh("services"); }, 10000);
setInterval(() => { if (!document.hidden) renew("rate"); }, 60000);
countDown(() => refresh("services"));
