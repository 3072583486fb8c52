// The heals, live.
import { onState, refresh } from "/static/live.js";

onState(() => refresh("healing"));
