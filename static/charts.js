// Charts: each is drawn from its table, which the server writes. What changes is changed there, and drawn anew.
import { uPlot } from "/static/vendor/vendor.js";
import { refresh } from "/static/live.js";

const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 2], [1, 4], [12, 5], [6, 2, 1, 2, 1, 2]];
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000];
const colour = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
const HHMM = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };

export function clock(seconds, step = 1) {
  const then = new Date(seconds * 1000);
  const time = then.toLocaleTimeString([], HHMM);
  return step === 1 ? time : `${then.toLocaleDateString([], { weekday: "short" })} ${time}`;
}

function tick(seconds, step) {
  const then = new Date(seconds * 1000);
  return step > 1 && then.getHours() === 0 && then.getMinutes() === 0 ? then.toLocaleDateString([], { weekday: "short" }) : then.toLocaleTimeString([], HHMM);
}

function said(value, unit) {
  if (value === null || value === undefined) return "—";
  if (unit === "ms") return value < 1 && value > 0 ? "< 1 ms" : value < 999.5 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(value < 9950 ? 1 : 0)} s`;
  return `${value >= 10 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${unit}`.trim();
}

const charts = new Map();

class Chart {
  constructor(figure) {
    this.figure = figure;
    const { chart, sort, unit, least, step, sum } = figure.dataset;
    [this.name, this.isBars, this.unit, this.least, this.step, this.sum] = [chart, sort === "bars", unit, Number(least), Number(step), sum];
    this.holder = document.getElementById(this.name);
    this.heading = document.getElementById(`${this.name}-said`);
    this.rest = this.heading?.textContent;
    this.draw();
    new ResizeObserver(() => this.plot.setSize(this.size())).observe(this.holder);
  }

  size() { return { width: Math.max(this.holder.clientWidth, 100), height: this.holder.clientHeight }; }

  /** The table, as it stands there now; its times become local. */
  read() {
    const table = document.getElementById(`${this.name}-table`);
    const rows = [...table.tBodies[0].rows];
    this.at = rows.map((row) => Number(row.cells[0].dataset.at));
    for (const { cells: [from] } of rows) {
      if (from.dataset.local !== undefined) continue;
      from.textContent = clock(Number(from.dataset.at), this.step);
      from.dataset.local = "";
    }
    const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
    const values = names.map((_, line) => rows.map((row) => { const { value } = row.cells[line + 1].dataset; return value === "" ? null : Number(value); }));
    return { names, values };
  }

  /** Draws what the table says now. */
  draw() {
    const { names, values } = this.read();
    this.values = values;
    if (this.plot && names.join("\n") === this.names.join("\n")) this.plot.setData([this.at, ...values]);
    else {
      this.names = names;
      this.plot?.destroy();
      this.holder.replaceChildren();
      this.plot = new uPlot(this.options(), [this.at, ...values], this.holder);
    }
    if (this.heading && this.sum) this.rest = `${values[0].reduce((sum, value) => sum + value, 0) || "none"} ${this.sum}`;
    this.tell(null);
  }

  options() {
    const half = this.step * 30;
    const lines = this.isBars
      ? [{ stroke: colour("--bad"), fill: colour("--bad"), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 14] }) }]
      : this.names.map((_, number) => ({ stroke: colour(`--line-${number}`), width: 2, dash: DASHES[number], points: { size: 4 } }));
    return {
      ...this.size(), legend: { show: false }, padding: [8, 18, 0, 0], cursor: { y: false, points: { show: !this.isBars, size: 7 }, drag: { x: false } },
      scales: {
        x: { range: () => [this.at[0] - half, this.at[this.at.length - 1] + half] },
        y: { range: (_, low, high) => [0, this.unit === "%" ? Math.min(100, Math.max(this.least, high * 1.1)) : Math.max(this.least, Math.ceil(high * 1.1))] },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 26, values: (_, moments) => moments.map((one) => tick(one, this.step)) },
        { ...axis, size: this.unit ? 52 : 40, space: 40, incrs: WHOLE, values: (_, values) => values.map((one) => said(one, this.unit)) },
      ],
      series: [{}, ...lines],
      hooks: { setCursor: [({ cursor: { idx } }) => this.tell(idx ?? null)] },
    };
  }

  /** Says in words what stands under the pointer; with null, what stands there otherwise. */
  tell(place) {
    const row = place === null ? null : clock(this.at[place], this.step);
    if (this.heading) this.heading.textContent = row === null ? this.rest : this.isBars ? `${said(this.values[0][place], this.unit)} at ${row}` : `at ${row}`;
    for (const value of this.figure.querySelectorAll("[data-line]")) {
      const numbers = this.values[value.dataset.line] ?? [];
      value.textContent = said(place === null ? numbers.findLast((one) => one !== null) : numbers[place], this.unit);
    }
  }
}

function upgrade(root) {
  for (const figure of root.querySelectorAll("figure[data-chart]")) charts.set(figure.dataset.chart, new Chart(figure));
}

/** Draws the chart of this name anew, from its table. */
export const draw = (name) => charts.get(name)?.draw();

/** Fetches the tables of all charts but those of these names, and draws them anew; where there was nothing to draw, there may be now. */
export async function renew(...but) {
  const boxes = [...document.querySelectorAll("[data-charts]")];
  const bare = boxes.filter((box) => !box.querySelector("figure")).map((box) => box.id);
  const known = [...charts.keys()].filter((name) => !but.includes(name));
  await refresh(...bare, ...known.map((name) => `${name}-data`));
  known.forEach(draw);
  bare.forEach((id) => upgrade(document.getElementById(id)));
}

upgrade(document);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((one) => one.plot.redraw()));

// When the next call may try a service that does not answer: counted down here; what follows, the server says.

export function countDown(passed) {
  const over = new Set();
  setInterval(() => {
    let isOver = false;
    for (const one of document.querySelectorAll(".next[data-until]")) {
      const left_s = Math.ceil((Date.parse(one.dataset.until) - Date.now()) / 1000);
      one.textContent = left_s > 0 ? `next try in ${left_s} s` : "the next call tries it";
      if (left_s > 0 || over.has(one.dataset.until)) continue;
      over.add(one.dataset.until);
      isOver = true;
    }
    if (isOver) passed();
  }, 1000);
}
