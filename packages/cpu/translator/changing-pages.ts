// Pages whose code keeps changing, as those of compilers in the guest: what is made from them is soon worth nothing, so
// they stay in the interpreter for longer each time.

/** Changes between two requests that cost nothing: code that is being written, relocated or patched at its start. */
const FREE = 4;
/** Requests for one translation, at most: each is another HOT_THRESHOLD times that the block is entered. */
const PUT_OFF_MAX = 64;
/** Beyond it all are forgotten. */
const PAGES = 4096;

interface Page {
  version: number;
  /** Requests that found the page changed since the one before, less those that found it as it was. */
  changes: number;
  /** Requests still to be put off. */
  left: number;
}

export class ChangingPages {
  readonly #pages = new Map<number, Page>();

  /** Whether hot blocks of an address's page stay in the interpreter for now. */
  rests(gpa: number): boolean {
    return (this.#pages.get(gpa >>> 12)?.left ?? 0) > 0;
  }

  /** Whether a hot block is to be translated now, given its page's version (BlockStore.pageVersion). */
  allows(gpa: number, version: number): boolean {
    const number = gpa >>> 12;
    const page = this.#pages.get(number);
    if (!page) {
      if (this.#pages.size >= PAGES) this.#pages.clear();
      this.#pages.set(number, { version, changes: 0, left: 0 });
      return true;
    }
    const hasChanged = page.version !== version;
    page.version = version;
    if (page.left > 0) return --page.left === 0;
    if (!hasChanged) {
      page.changes = Math.max(page.changes - 1, 0);
      return true;
    }
    page.changes = Math.min(page.changes + 1, FREE + Math.log2(PUT_OFF_MAX));
    if (page.changes <= FREE) return true;
    page.left = 2 ** (page.changes - FREE) - 1;
    return false;
  }
}
