// Dialogs and short words to the operator.
import { $ } from './dom.js';

for (const d of document.querySelectorAll('dialog')) d.querySelector('[data-close]').addEventListener('click', () => d.close());

/** Asks before something is done: the text typed, '' without a field, or null. */
export function ask({ title, text = '', label = '', value = '', secret = false, ok = 'OK', bad = false }) {
  const d = $('ask'), input = $('ask-input'), button = $('ask-ok');
  $('ask-title').textContent = title;
  $('ask-text').textContent = text;
  $('ask-label').hidden = !label;
  $('ask-label').firstElementChild.textContent = label;
  input.type = secret ? 'password' : 'text';
  input.value = value;
  button.textContent = ok;
  button.className = bad ? 'bad' : 'strong';
  d.showModal();
  (label ? input : button).focus();
  return new Promise((resolve) => {
    const yes = () => { d.close('yes'); };
    const key = (e) => { if (e.key === 'Enter') yes(); };
    d.returnValue = '';
    button.addEventListener('click', yes);
    input.addEventListener('keydown', key);
    d.addEventListener('close', () => {
      button.removeEventListener('click', yes);
      input.removeEventListener('keydown', key);
      resolve(d.returnValue === 'yes' ? input.value : null);
    }, { once: true });
  });
}

let hide;
export function toast(text) {
  $('toast').textContent = text;
  $('toast').hidden = false;
  clearTimeout(hide);
  hide = setTimeout(() => { $('toast').hidden = true; }, 6000);
}

/** Does something and says how it went. */
export async function act(done, work) {
  try {
    await work();
    toast(done);
    return true;
  } catch (err) {
    toast(err.status === 403 ? `Your token may not do that: ${err.message}` : err.message);
    return false;
  }
}
