// Builds and updates elements. Text always becomes text nodes: what comes from a log or a model is never markup.

/** An element: properties ("class", "on…" handlers, attributes; null and false are left out), then children. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets an element's text if it differs, so that nothing moves and no selection is lost without need. */
export function say(element, text) {
  const wanted = text === null || text === undefined ? '' : String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
  return element;
}

/** Sets or removes an attribute if it differs. */
export function mark(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? '' : String(value));
  return element;
}

/**
 * Keeps `parent`'s children in step with `items`: one element a key, made once by `make(item)` (which returns
 * {element, update}), updated each time, in order. Focus and open details stay where they are.
 */
export function keyed(parent, items, keyOf, make) {
  const known = parent.keyedChildren ?? (parent.keyedChildren = new Map());
  const wanted = new Set(items.map(keyOf));
  for (const [key, child] of known) {
    if (!wanted.has(key)) {
      child.element.remove();
      known.delete(key);
    }
  }
  let after = null;
  for (const item of items) {
    const key = keyOf(item);
    let child = known.get(key);
    if (!child) {
      child = make(item);
      known.set(key, child);
    }
    child.update(item);
    const place = after ? after.nextSibling : parent.firstChild;
    if (place !== child.element) parent.insertBefore(child.element, place);
    after = child.element;
  }
}
