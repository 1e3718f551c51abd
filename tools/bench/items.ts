// What the benchmark guest can run. The commands are in tools/bench/init, in this order.

export const GROUPS = ['suite', 'programs', 'parallel'] as const;
/**
 * suite: busybox and a small program, all that a 32-bit guest has; programs: Debian's, from a disk; parallel: two
 * processes at once, which one processor does one after the other.
 */
export type Group = (typeof GROUPS)[number];

export interface ItemInfo {
  readonly group: Group;
  readonly text: string;
  /** Its last line depends on time: not to be compared. */
  readonly printsTime?: boolean;
}

export const ITEMS: Readonly<Record<string, ItemInfo>> = {
  boot: { group: 'suite', text: "from the emulator's start to the first process" },
  int: { group: 'suite', text: '200 million rounds of multiply, shift, xor and add' },
  sieve: { group: 'suite', text: 'sieve of Eratosthenes over 8 MB, three times' },
  fib: { group: 'suite', text: 'fib(36), recursive' },
  matmul: { group: 'suite', text: '160 × 160 matrices of integers, six products' },
  fp87: { group: 'suite', text: '120 × 120 matrices of doubles by x87, four products' },
  fpsse: { group: 'suite', text: 'the same by SSE2' },
  syscall: { group: 'suite', text: '500,000 getppid' },
  md5: { group: 'suite', text: 'busybox md5sum of 32 MB' },
  sha256: { group: 'suite', text: 'busybox sha256sum of 32 MB' },
  gzip: { group: 'suite', text: 'busybox gzip of 8 MB of code' },
  gunzip: { group: 'suite', text: 'the same and back' },
  awk: { group: 'suite', text: 'busybox awk, a million additions' },
  shloop: { group: 'suite', text: 'shell loop, 200,000 rounds' },
  forkx: { group: 'suite', text: '300 times fork and exec' },
  ddcopy: { group: 'suite', text: 'dd of 500 MB from /dev/zero to /dev/null', printsTime: true },
  sort: { group: 'suite', text: 'seq | sort -n, 200,000 lines' },
  gcc: { group: 'programs', text: 'gcc -O2 -c of stb_image_resize, 2600 lines' },
  python3: { group: 'programs', text: 'floats, lists, dictionaries, strings, JSON' },
  perl: { group: 'programs', text: 'hashes, regular expressions, sorting, floats' },
  sqlite: { group: 'programs', text: '30,000 inserts, indexes, joins, updates' },
  osslhash: { group: 'programs', text: 'OpenSSL SHA-256, SHA-512 and SHA3-256 of 32 MB' },
  osslenc: { group: 'programs', text: 'OpenSSL AES-256-CBC of 32 MB' },
  osslrsa: { group: 'programs', text: 'OpenSSL RSA-4096, eight signatures' },
  '7z': { group: 'programs', text: '7-Zip packs 1.2 MB of text and tests it' },
  unxz: { group: 'programs', text: 'xz unpacks 12 MB of text' },
  intx2: { group: 'parallel', text: 'int four times, two such at once' },
  sha256x2: { group: 'parallel', text: 'sha256, two at once' },
  forkx2: { group: 'parallel', text: 'forkx, two at once' },
  pipe: { group: 'parallel', text: 'dd | cat | md5sum, 32 MB' },
};

/** Runs whether asked for or not. */
const ALWAYS = 'boot';

/** Names of items from names of items and groups with commas between; the first unknown one where there is one. */
export function chooseItems(list: string): { names: string[] } | { unknown: string } {
  const words = list.split(',').filter((word) => word !== '');
  const isGroup = (word: string) => GROUPS.some((group) => group === word);
  const unknown = words.find((word) => !isGroup(word) && !Object.hasOwn(ITEMS, word));
  if (unknown !== undefined) return { unknown };
  const names = Object.entries(ITEMS)
    .filter(([name, { group }]) => words.includes(name) || words.includes(group))
    .map(([name]) => name)
    .filter((name) => name !== ALWAYS);
  return { names };
}

export function needsDisk(names: readonly string[]): boolean {
  return names.some((name) => ITEMS[name]?.group === 'programs');
}
