// The texts that scripts say, translated by the server (dashboard/presenters/words.py).
export const words = document.getElementById('words').dataset;
export const fill = (text, values) => text.replace(/%\((\w+)\)s/g, (_, name) => values[name]);
