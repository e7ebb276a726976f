// What a form does beyond HTML. Without this file every field is shown and the server checks all the same.
import { fill, words } from './words.js';

const MAX_FILE = 2_000_000;

// data-when="gpu=nvidia amd" shows a part only while the field gpu has one of these values; data-when="ingress"
// while a box is ticked or a text is given.
function applies(form, condition) {
  const [name, values] = condition.split('=');
  const prefix = form.dataset.prefix ?? '';
  const field = form.elements.namedItem(prefix + name);
  if (!field) return true;
  const value = field.type === 'checkbox' ? (field.checked ? field.value : '') : field.value;
  return values === undefined ? value !== '' : values.split(' ').includes(value);
}

function dependents() {
  for (const part of document.querySelectorAll('[data-when]')) {
    const form = part.closest('form');
    // What is wrong is never hidden.
    if (form) part.hidden = !applies(form, part.dataset.when) && !part.querySelector('[aria-invalid]');
  }
}

// The name of what is destroyed, typed: the button waits for it.
function matching(input) {
  const wanted = input.dataset.match;
  const same = input.value === wanted;
  const help = document.getElementById(`${input.id}_helptext`);
  const left = wanted.length - input.value.length;
  let text = '\u00a0';
  if (!same && input.value) {
    if (!wanted.startsWith(input.value)) text = words.differs;
    else text = left === 1 ? words.lettersOne : fill(words.letters, { count: left });
  }
  if (help) help.textContent = text;
  input.form.querySelector('[type=submit]').disabled = !same;
}

async function readInto(input) {
  const [file] = input.files;
  const area = document.getElementById(input.dataset.readInto);
  if (!file || !area) return;
  if (file.size > MAX_FILE) {
    input.setCustomValidity(fill(words.tooBig, { count: MAX_FILE / 1e6 }));
    input.reportValidity();
    return;
  }
  input.setCustomValidity('');
  area.value = await file.text();
  area.dispatchEvent(new Event('input', { bubbles: true }));
  input.value = ''; // the text is what is sent, once
}

document.addEventListener('input', ({ target }) => {
  const form = target.form;
  if (target.dataset.match !== undefined) matching(target);
  if (form?.method === 'post') form.dataset.dirty = '';
  dependents();
});

document.addEventListener('change', ({ target }) => {
  if (target.dataset.readInto) readInto(target);
  dependents();
});

document.addEventListener('submit', (event) => {
  const form = event.target;
  if (form.method !== 'post') return;
  if (form.getAttribute('aria-busy')) return event.preventDefault();
  form.setAttribute('aria-busy', 'true');
  delete form.dataset.dirty;
});

addEventListener('pageshow', () => {
  for (const form of document.querySelectorAll('form[aria-busy]')) form.removeAttribute('aria-busy');
});

addEventListener('beforeunload', (event) => {
  if (document.querySelector('form[data-guard][data-dirty]')) event.preventDefault();
});

export function prepare(root) {
  for (const input of root.querySelectorAll('[data-match]')) matching(input);
  dependents();
}

prepare(document);
document.addEventListener('fresh', dependents);
document.querySelector('[data-focus]')?.focus();
