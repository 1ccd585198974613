// Elements without markup: whatever comes from the network becomes text, and cannot become anything else.

/** An element: its tag with classes ("p.aside.quiet"), its attributes, and what stands in it. */
export function el(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, heard] of Object.entries(value)) made.addEventListener(event, heard);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

export const by = (id) => document.getElementById(id);

/** Writes a text if it is another one: a screen reader is told of a change, and of nothing else. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Puts these elements in, if they are not the same as those that stand there: focus and selection stay. */
export function fill(parent, children) {
  const made = children.filter(Boolean);
  const is_same = made.length === parent.children.length && made.every((one, at) => one.isEqualNode(parent.children[at]));
  if (!is_same) parent.replaceChildren(...made);
}
