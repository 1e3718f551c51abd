// Writes cpio archives in the "newc" format that Linux unpacks as its initial root file system.
// Linux, Documentation/driver-api/early-userspace/buffer-format.rst.

/** Type bits of a mode. stat(2), inode(7). */
const TYPE = { folder: 0o040000, file: 0o100000, link: 0o120000, characterDevice: 0o020000 };
const HEADER_BYTES = 110;
const TRAILER = 'TRAILER!!!';

export type CpioEntry =
  | { readonly path: string; readonly folder: true }
  | { readonly path: string; readonly contents: Uint8Array | string; readonly executable?: boolean }
  | { readonly path: string; readonly linkTo: string }
  | { readonly path: string; readonly device: { readonly major: number; readonly minor: number } };

/** Paths have no leading slash; a folder comes before what is in it. Owner is root, times are zero. */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const pieces = entries.flatMap((entry, index) => encode(entry, index + 1));
  pieces.push(header({ inode: 0, mode: 0, path: TRAILER, size: 0, major: 0, minor: 0 }));
  const total = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const archive = new Uint8Array(total);
  let at = 0;
  for (const piece of pieces) {
    archive.set(piece, at);
    at += piece.length;
  }
  return archive;
}

function encode(entry: CpioEntry, inode: number): Uint8Array[] {
  const { path } = entry;
  const none = { inode, path, size: 0, major: 0, minor: 0 };
  if ('folder' in entry) return [header({ ...none, mode: TYPE.folder | 0o755 })];
  if ('device' in entry) {
    return [header({ ...none, ...entry.device, mode: TYPE.characterDevice | 0o600 })];
  }
  const data = 'linkTo' in entry ? toBytes(entry.linkTo) : toBytes(entry.contents);
  const mode =
    'linkTo' in entry ? TYPE.link | 0o777 : TYPE.file | (entry.executable === true ? 0o755 : 0o644);
  return [header({ ...none, mode, size: data.length }), padded(data)];
}

interface Header {
  readonly inode: number;
  readonly mode: number;
  readonly path: string;
  readonly size: number;
  readonly major: number;
  readonly minor: number;
}

/** Magic and 13 numbers of 8 hexadecimal digits, then the path with its zero, to a multiple of 4 bytes. */
function header({ inode, mode, path, size, major, minor }: Header): Uint8Array {
  const name = toBytes(`${path}\0`);
  const links = 1;
  const numbers = [inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name.length, 0];
  const text = `070701${numbers.map((value) => value.toString(16).padStart(8, '0')).join('')}`;
  const bytes = new Uint8Array(HEADER_BYTES + name.length);
  bytes.set(toBytes(text));
  bytes.set(name, HEADER_BYTES);
  return padded(bytes);
}

function padded(bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  result.set(bytes);
  return result;
}

function toBytes(contents: Uint8Array | string): Uint8Array {
  return typeof contents === 'string' ? new TextEncoder().encode(contents) : contents;
}
