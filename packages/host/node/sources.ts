// What decides whether something kept of the processor still counts: the sources that it was made by, and V8.

import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What engines and translations are made by. */
const PACKAGES = ['@mimic/cpu', '@mimic/base'];

/** A digest of all files of these folders that are not tests, and of the V8 that serializes and compiles. */
export async function sourcesName(
  folders: readonly string[] = PACKAGES.map(folderOf),
): Promise<string> {
  const hash = createHash('sha256').update(process.versions.v8);
  for (const folder of folders) {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const files = entries
      .filter((entry) => entry.isFile() && isSource(entry.name))
      .map((entry) => join(entry.parentPath, entry.name));
    for (const file of files.toSorted()) hash.update(file).update(await readFile(file));
  }
  return hash.digest('hex').slice(0, 32);
}

function folderOf(packageName: string): string {
  return dirname(fileURLToPath(import.meta.resolve(packageName)));
}

function isSource(name: string): boolean {
  return /\.[jt]s$/.test(name) && !/\.test\.[jt]s$/.test(name);
}
