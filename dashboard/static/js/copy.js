// <code>…</code><button data-copy hidden>: puts the text on the clipboard and says so for a while. Browsers give
// the clipboard to https and to this machine only; elsewhere the button stays hidden and the text is chosen by hand.
import { announce } from './announce.js';

const SAID = 3000;

if (navigator.clipboard) {
  for (const button of document.querySelectorAll('[data-copy]')) {
    const word = button.querySelector('span');
    const rest = word.textContent;
    let timer = 0;
    button.hidden = false;
    button.addEventListener('click', async () => {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      word.textContent = button.dataset.done;
      announce(button.dataset.done);
      clearTimeout(timer);
      timer = setTimeout(() => { word.textContent = rest; }, SAID);
    });
  }
}
