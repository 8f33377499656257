// What a browser has to be told about a panel; it is run by each, and listens once for all of them.
window.classypics ||= (() => {
  const panel = e => e.target.closest?.('.classypics');
  const press = (e, name) => panel(e).querySelector('.cp-' + name).click();
  window.addEventListener('keydown', e => {
    if (!panel(e)) return;
    if (e.target.matches('button') && ['Enter', ' '].includes(e.key)) e.stopPropagation();
    if (e.key === 'Escape') press(e, 'cancel');
    if (e.key === 'Enter' && e.target.matches('input:not([type=range]), .cp-choice button'))
      setTimeout(() => press(e, 'generate'), 50);
  }, true);
  window.addEventListener('input', e => {
    const film = panel(e) && e.target.closest('.cp-film');
    if (!film) return;
    film.querySelectorAll('img').forEach((frame, k) => frame.hidden = k + 1 != e.target.value);
    film.querySelector('output').textContent = `step ${e.target.value} of ${e.target.max}`;
  });
  window.addEventListener('click', e => {
    const tile = panel(e) && e.target.closest('button.cp-tile');
    if (tile) {
      panel(e).querySelectorAll('button.cp-tile').forEach(t => t.setAttribute('aria-pressed', t === tile));
      const input = panel(e).querySelector('.cp-pick input');
      input.value = tile.dataset.picture;
      for (const name of ['input', 'change']) input.dispatchEvent(new Event(name, {bubbles: true}));
      const viewer = panel(e).querySelector('.cp-viewer');
      setTimeout(() => viewer.scrollIntoView({block: 'nearest', behavior: 'smooth'}), 400);
    }
    if (panel(e) && e.target.closest('.cp-save')) window.classypics.saves++;  // see download_html
    if (panel(e) && e.target.closest('.cp-cancel')) panel(e).querySelector('.cp-generate').focus();
    if (panel(e) && e.target.matches('.cp-copy')) {
      getSelection().selectAllChildren(e.target.previousElementSibling);
      if (document.execCommand('copy')) e.target.textContent = 'Copied';
    }
  });
  return {saves: 0};
})();
// Only what is there already when its text changes is read aloud.
setTimeout(() => document.querySelectorAll('.cp-said').forEach(said => said.setAttribute('aria-live', 'polite')), 500);
