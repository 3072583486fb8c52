// A page that is one section, live: fetched anew when the state changes, and every so many ms for what the state does not tell.
import { onState, refresh } from "/static/live.js";

const { id, dataset } = document.querySelector("[data-every]");
onState(() => refresh(id));
setInterval(() => { if (!document.hidden) refresh(id); }, Number(dataset.every));
