// What pages gain with scripts on: times that stay true, lists that refresh, output that grows.

import { startClock } from "./time.js";
import { startPolling } from "./live.js";
import { followOutput } from "./output.js";
import { startForms } from "./forms.js";

startClock();
startPolling();
followOutput();
startForms();
