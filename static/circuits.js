// The circuits, live: at once when one changes, now and then for the counts.
import { onState, refresh } from "/static/live.js";

onState(() => refresh("circuits"));
setInterval(() => { if (!document.hidden) refresh("circuits"); }, 5000);
