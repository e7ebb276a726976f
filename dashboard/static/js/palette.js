// "/" opens the search over everything one may see. Without scripts the field is a link to the search page.
const box = document.getElementById('palette');
const input = box?.querySelector('input');
const list = document.getElementById('hits');
let asked = 0;
let pause = 0;

async function ask() {
  const turn = ++asked;
  const address = new URL(input.form.action);
  address.searchParams.set('q', input.value);
  const answer = await fetch(address, { headers: { 'X-Fragment': '1' }, redirect: 'manual' });
  if (turn !== asked || !answer.ok) return; // a later letter was faster
  list.innerHTML = await answer.text();
}

function show() {
  box.showModal();
  input.select();
  ask();
}

if (box) {
  input.addEventListener('input', () => {
    clearTimeout(pause);
    pause = setTimeout(ask, 120);
  });
  document.addEventListener('click', (event) => {
    if (event.target.closest('[data-palette]')) {
      event.preventDefault();
      show();
    }
  });
  document.addEventListener('keydown', (event) => {
    const typing = event.target.closest?.('input, textarea, select, [contenteditable]');
    const slash = event.key === '/' && !typing;
    if ((slash || (event.key === 'k' && (event.ctrlKey || event.metaKey))) && !document.querySelector('dialog[open]')) {
      event.preventDefault();
      show();
    }
  });
  box.addEventListener('keydown', (event) => {
    const hits = [...list.querySelectorAll('a')];
    const at = hits.indexOf(document.activeElement);
    if (event.key === 'ArrowDown' && at + 1 < hits.length) hits[at + 1].focus();
    else if (event.key === 'ArrowUp') (hits[at - 1] ?? input).focus();
    else if (event.key === 'Enter' && event.target === input && hits.length) hits[0].click();
    else return;
    event.preventDefault();
  });
}
