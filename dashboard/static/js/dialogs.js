// <a href="…/uninstall/" data-dialog> opens the form of that page as a dialog; without scripts it is a page.
// Also: messages that close, menus that close on a click elsewhere.
import { prepare } from './forms.js';

async function open(link) {
  const answer = await fetch(link.href, { redirect: 'manual' });
  const page = answer.ok && new DOMParser().parseFromString(await answer.text(), 'text/html');
  const form = page && page.querySelector('form.dialog');
  if (!form) return location.assign(link.href);
  const menu = link.closest('details.pick'); // closes with the choice; a link in a closed one takes no focus
  const sheet = document.createElement('dialog');
  sheet.className = 'sheet';
  sheet.setAttribute('aria-labelledby', form.getAttribute('aria-labelledby'));
  sheet.append(form);
  document.body.append(sheet);
  sheet.addEventListener('close', () => {
    sheet.remove();
    (menu ? menu.querySelector('summary') : link).focus();
  });
  prepare(sheet);
  if (menu) menu.open = false;
  sheet.showModal();
}

document.addEventListener('click', (event) => {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = target.closest('a[data-dialog]');
  const sheet = target.closest('dialog[open]');
  if (link) {
    event.preventDefault();
    open(link);
  } else if (sheet && (target === sheet || target.closest('[data-close]'))) {
    event.preventDefault();
    sheet.close();
  } else if (target.closest('[data-dismiss]')) target.closest('.toasts').remove();
  for (const menu of document.querySelectorAll('details.pick[open]')) {
    if (!menu.contains(target)) menu.open = false;
  }
});

document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  for (const menu of document.querySelectorAll('details.pick[open]')) {
    menu.open = false;
    menu.querySelector('summary').focus();
  }
});

// Whoever leaves the menu of a phone by the keyboard would go on behind it, unseen.
document.querySelector('#nav')?.addEventListener('focusout', (event) => {
  const { currentTarget: menu, relatedTarget: next } = event;
  if (next && !menu.contains(next) && menu.matches(':popover-open')) menu.hidePopover();
});

for (const button of document.querySelectorAll('[data-dismiss]')) button.hidden = false;
