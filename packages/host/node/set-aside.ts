// Bytes that a machine wants again only when it is reset, in files without names: they take no memory of the process that
// the system could not have back, and are gone with the worker. The user's own files may change or go meanwhile.

import { randomUUID } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from './cache-folder.ts';

type Bytes = Uint8Array<ArrayBuffer>;

/** The function reads them again, as often as it is called. Undefined when they cannot be written. */
export function setAside(
  bytes: Uint8Array,
  folder: string = join(cacheFolder(), 'aside'),
): (() => Bytes) | undefined {
  const { length } = bytes;
  const path = join(folder, randomUUID());
  let file: number | undefined;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    file = openSync(path, 'wx+', 0o600);
    rmSync(path);
    for (let at = 0; at < length; ) at += writeSync(file, bytes, at, length - at, at);
  } catch {
    if (file !== undefined) closeSync(file);
    return undefined;
  }
  const open = file;
  return () => readWhole(open, length);
}

/** Throws what the system says: a disk may fail. */
function readWhole(file: number, length: number): Bytes {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const count = readSync(file, bytes, at, length - at, at);
    if (count === 0) throw new Error(`a file that was set aside ends at ${at} of ${length} bytes`);
    at += count;
  }
  return bytes;
}
