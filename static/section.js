// A page of sections that are live: fetched anew when the state changes, and every so many ms for what the state does not tell.
import { onState, refresh } from "/static/live.js";

const sections = [...document.querySelectorAll("[data-every]")];
const all = () => refresh(...sections.map((one) => one.id));
onState(all);
setInterval(() => { if (!document.hidden) all(); }, Math.min(...sections.map((one) => Number(one.dataset.every))));
