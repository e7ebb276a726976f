// <code>…</code><button data-copy hidden>: puts the text on the clipboard and says so for a while. Browsers give
// the clipboard to https and to this machine only; elsewhere the button stays hidden and the text is chosen by hand.
// Where the reader or a policy forbids it, the text is chosen for him, ready for the keyboard.
import { announce } from './announce.js';

const SAID = 3000;

if (navigator.clipboard) {
  for (const button of document.querySelectorAll('[data-copy]')) {
    const word = button.querySelector('span');
    const rest = word.textContent;
    let timer = 0;
    button.hidden = false;
    button.addEventListener('click', async () => {
      const text = button.previousElementSibling;
      try {
        await navigator.clipboard.writeText(text.textContent);
      } catch {
        window.getSelection().selectAllChildren(text);
        return;
      }
      word.textContent = button.dataset.done;
      announce(button.dataset.done);
      clearTimeout(timer);
      timer = setTimeout(() => { word.textContent = rest; }, SAID);
    });
  }
}
