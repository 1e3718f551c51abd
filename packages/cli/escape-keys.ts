// Ctrl-A in the terminal: the next key is for Mimic, all else is for the guest.

const CTRL_A = 0x01;

export type EscapeKey = 'quit' | 'help' | 'monitor';
export type Typed =
  | { readonly to: 'guest'; readonly bytes: Uint8Array }
  | { readonly to: 'mimic'; readonly key: EscapeKey };

const KEYS: Readonly<Record<string, EscapeKey>> = {
  x: 'quit',
  h: 'help',
  '?': 'help',
  c: 'monitor',
};

export const ESCAPE_HELP = `
Ctrl-A h  this help
Ctrl-A x  quit: pull the plug and end mimic
Ctrl-A c  switch between guest and monitor
Ctrl-A a  send Ctrl-A to the guest
`;

export class EscapeKeys {
  /** Ctrl-A was the last key, maybe of an earlier chunk. */
  #escaped = false;

  /** What the keys in `bytes` mean, in order. */
  feed(bytes: Uint8Array): Typed[] {
    const typed: Typed[] = [];
    let guest: number[] = [];
    for (const byte of bytes) {
      const key = this.#escaped ? KEYS[String.fromCharCode(byte).toLowerCase()] : undefined;
      if (!this.#escaped && byte === CTRL_A) {
        this.#escaped = true;
        continue;
      }
      if (key !== undefined) {
        if (guest.length > 0) typed.push({ to: 'guest', bytes: Uint8Array.from(guest) });
        guest = [];
        typed.push({ to: 'mimic', key });
      } else if (!this.#escaped) {
        guest.push(byte);
      } else if (byte === CTRL_A || byte === 0x61) {
        guest.push(CTRL_A);
      } else {
        // Not one of ours: the guest gets both keys, as if nothing stood between.
        guest.push(CTRL_A, byte);
      }
      this.#escaped = false;
    }
    if (guest.length > 0) typed.push({ to: 'guest', bytes: Uint8Array.from(guest) });
    return typed;
  }
}
