// A row of tabs that is wider than the screen shows the chosen one when the page opens.
for (const tab of document.querySelectorAll('.tabs > [aria-current]')) {
  const row = tab.parentElement;
  row.scrollLeft = tab.offsetLeft - row.offsetLeft - (row.clientWidth - tab.offsetWidth) / 2;
}
