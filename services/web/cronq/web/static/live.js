// Refreshes the page's header and main part every `data-poll` milliseconds, unless hidden or paused.

import { morph } from "./morph.js";
import { tick } from "./time.js";

const PAUSED = "cronq.paused";
const ANSWER_WITHIN = 10_000;
const AFTER_TROUBLE = 5_000;

let timer = 0;
let isAsking = false;
let trouble = "";

export function startPolling() {
  const toggle = document.getElementById("live-toggle");
  if (!toggle) return;
  toggle.dataset.keep = "";
  toggle.addEventListener("click", () => {
    localStorage.setItem(PAUSED, isPaused() ? "" : "yes");
    next(0);
  });
  document.addEventListener("visibilitychange", () => next(0));
  next(interval());
}

function isPaused() {
  return localStorage.getItem(PAUSED) === "yes";
}

/** Zero: this page does not change any more. */
function interval() {
  return Number(document.getElementById("live").dataset.poll || 0);
}

function next(wait) {
  clearTimeout(timer);
  show();
  if (interval() && !isPaused() && !document.hidden) timer = setTimeout(refresh, wait);
}

function show() {
  const toggle = document.getElementById("live-toggle");
  toggle.hidden = !interval();
  toggle.setAttribute("aria-pressed", String(!isPaused()));
  toggle.title = trouble || (isPaused() ? "Paused: click to refresh this page again" : "This page refreshes itself: click to pause");
  toggle.textContent = trouble ? `not live: ${trouble}` : `live ${isPaused() ? "‖" : "●"}`;
  toggle.classList.toggle("offline", Boolean(trouble));
}

async function refresh() {
  if (isAsking) return;
  isAsking = true;
  try {
    await replace(await fragment());
    trouble = "";
  } catch (error) {
    trouble = error.status ? `status ${error.status}` : "no answer";
  } finally {
    isAsking = false;
  }
  next(trouble ? AFTER_TROUBLE : interval());
}

async function fragment() {
  const url = new URL(location.href);
  url.searchParams.set("fragment", "1");
  url.hash = "";
  const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_WITHIN) });
  if (!response.ok) throw Object.assign(new Error("refused"), { status: response.status });
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

function replace(fresh) {
  for (const id of ["top", "live"]) {
    morph(document.getElementById(id), fresh.getElementById(id));
  }
  document.title = fresh.title;
  tick();
}
