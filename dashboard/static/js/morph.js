// Makes one element equal another with the fewest changes, so that focus, selection, scroll, open folds
// and typed text survive. Children with an id or data-key are matched by it, the others by their place.

const key = (node) => node.id || node.dataset?.key || '';

function kept(element) {
  if (element.matches('dialog[open], [data-keep], form[data-dirty]')) return true;
  return element.localName === 'form' && element.contains(document.activeElement);
}

function attributes(from, to) {
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !(name === 'open' && from.localName === 'details')) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (name === 'open' && from.localName === 'details') continue;
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
}

function children(from, to) {
  const named = new Map();
  for (const child of from.children) if (key(child)) named.set(key(child), child);
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    const name = key(next);
    let match = name ? named.get(name) : at && !key(at) ? at : null;
    if (match && match.nodeName !== next.nodeName) match = null;
    if (!match) {
      from.insertBefore(next, at);
      continue;
    }
    if (match === at) at = at.nextSibling;
    else from.insertBefore(match, at);
    node(match, next);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function node(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
  } else if (!kept(from)) {
    attributes(from, to);
    children(from, to);
  }
}

export function morph(from, to) {
  const focused = document.activeElement;
  node(from, to);
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}
