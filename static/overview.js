// The overview, live: the feed, the chart of errors a minute, and the groups now and then.
import { uPlot } from "/static/vendor/vendor.js";
import { onEvents, refresh, shape, text, timeElement } from "/static/live.js";

const MAX_ITEMS = 40;
const feed = document.getElementById("feed");

function item(event) {
  const { line } = event;
  const li = document.createElement("li");
  li.dataset.id = event.id;
  li.className = "fresh";
  const said = document.createElement("div");
  const what = text(line.href ? "a" : "span", line.text, "what");
  if (line.href) what.href = line.href;
  said.append(shape(line.shape, line.tone), " ", what, " ", text("small", line.detail));
  li.append(timeElement(event.at), said);
  return li;
}

const table = document.querySelector("#rate-table tbody");
const at = [...table.rows].map((row) => Number(row.cells[0].dataset.at));
const counts = [...table.rows].map((row) => Number(row.cells[1].textContent));
const holder = document.getElementById("rate");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const width = () => holder.clientWidth || 600;
const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
const chart = new uPlot({
  width: width(), height: 150, legend: { show: false }, cursor: { y: false },
  scales: { y: { range: (_, low, high) => [0, Math.max(4, high)] } },
  axes: [axis, { ...axis, size: 40 }],
  series: [{}, { label: "errors", stroke: colour("--bad"), width: 1.5, fill: `${colour("--bad")}22`, points: { show: false } }],
}, [at, counts], holder);
new ResizeObserver(() => chart.setSize({ width: width(), height: 150 })).observe(holder);

function count(event) {
  const minute = Math.floor(Date.parse(event.at) / 60000) * 60;
  while (at[at.length - 1] < minute && at.length < 10000) {
    at.push(at[at.length - 1] + 60); counts.push(0);
    const row = table.insertRow();
    row.insertCell().textContent = new Date(at[at.length - 1] * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    row.insertCell().textContent = "0";
    row.cells[1].className = "n";
    if (at.length > 60) { at.shift(); counts.shift(); table.deleteRow(0); }
  }
  const place = at.indexOf(minute);
  if (place >= 0) { counts[place] += 1; table.rows[place].cells[1].textContent = counts[place]; }
}

let refreshing = 0;
onEvents((events, gap) => {
  for (const event of events) if (event.type === "error") count(event);
  chart.setData([at, counts]);
  feed.prepend(...events.slice(-MAX_ITEMS).reverse().map(item));
  while (feed.children.length > MAX_ITEMS) feed.lastElementChild.remove();
  if (!refreshing) {
    refreshing = setTimeout(() => { refreshing = 0; refresh(["#errors-title + .card", "#agents", "#agents-title"]); }, gap ? 200 : 1500);
  }
});
