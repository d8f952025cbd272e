// Makes one tree of elements equal to another while keeping its nodes, and so focus, selection, scroll.

/** `data-keep` marks an element that a script owns: it is left as it is. */
export function morph(from, to) {
  if (from.dataset.keep !== undefined) return;
  copyAttributes(from, to);
  copyChildren(from, to);
}

function copyAttributes(from, to) {
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name)) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
}

function copyChildren(from, to) {
  const byId = new Map();
  for (const child of from.children) if (child.id) byId.set(child.id, child);
  let current = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const match = findMatch(byId, current, wanted);
    if (!match) {
      from.insertBefore(wanted, current);
      continue;
    }
    if (match === current) current = current.nextSibling;
    else from.insertBefore(match, current);
    copyNode(match, wanted);
  }
  while (current) {
    const next = current.nextSibling;
    current.remove();
    current = next;
  }
}

function findMatch(byId, current, wanted) {
  if (wanted.id) {
    const same = byId.get(wanted.id);
    return same && same.nodeName === wanted.nodeName ? same : null;
  }
  const fits = current && !current.id && current.nodeName === wanted.nodeName;
  return fits ? current : null;
}

function copyNode(match, wanted) {
  if (match.nodeType === Node.ELEMENT_NODE) morph(match, wanted);
  else if (match.nodeValue !== wanted.nodeValue) match.nodeValue = wanted.nodeValue;
}
