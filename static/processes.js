// The processes, live: at once when one starts or ends, now and then for memory and CPU.
import { onState, refresh } from "/static/live.js";

onState(() => refresh("processes"));
setInterval(() => { if (!document.hidden) refresh("processes"); }, 5000);
