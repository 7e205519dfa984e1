// Keeps what a reload needs to take a membership up again. A storage that
// refuses (private mode, full) is the same as none.

/** @param {Storage} storage @param {string} key */
export function memo(storage, key) {
  const attempt = (fn) => { try { return fn(); } catch { return null; } };
  return {
    load() {
      const v = attempt(() => JSON.parse(storage.getItem(key)));
      if (!v || typeof v.token !== 'string' || typeof v.name !== 'string') return null;
      const token = attempt(() => unhex(v.token)), data = attempt(() => unhex(v.data ?? ''));
      return token && data ? { ...v, token, data } : null;
    },
    save(v) {
      attempt(() => storage.setItem(key, JSON.stringify({ ...v, token: hex(v.token), data: hex(v.data) })));
    },
    clear() { attempt(() => storage.removeItem(key)); },
  };
}

export const hex = (b) => Array.from(b, (v) => v.toString(16).padStart(2, '0')).join('');

export function unhex(s) {
  if (!/^([0-9a-f]{2})*$/.test(s)) throw new RangeError('not hexadecimal');
  return Uint8Array.from(s.match(/../g) ?? [], (v) => parseInt(v, 16));
}
