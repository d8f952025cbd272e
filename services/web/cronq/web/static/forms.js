// Small help with forms: no order twice by a double click, filters at once, `/` to search.

export function startForms() {
  document.addEventListener("submit", (event) => guard(event.target));
  window.addEventListener("pageshow", () => document.querySelectorAll("button[data-sent]").forEach(release));
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });
  document.addEventListener("keydown", focusSearch);
}

function guard(form) {
  if (form.method !== "post") return;
  // After the event, because a button that is disabled now would stop the order itself.
  setTimeout(() => {
    for (const button of form.querySelectorAll("button:enabled")) {
      button.disabled = true;
      button.dataset.sent = "";
    }
  });
}

function release(button) {
  button.disabled = false;
  delete button.dataset.sent;
}

function focusSearch(event) {
  const search = document.querySelector(`[data-shortcut="${CSS.escape(event.key)}"]`);
  const isTyping = event.target.matches("input, select, textarea");
  if (!search || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  search.focus();
}
