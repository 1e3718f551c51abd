// Files of Debian packages for guests, fetched by apt and unpacked into the cache without being installed.
// A fetched package is kept until its folder is deleted: tests then need no network.

import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Apt } from '@mimic/cli';

/** Ignored by git. */
export const GUEST_CACHE = join(
  dirname(dirname(dirname(fileURLToPath(import.meta.url)))),
  '.cache',
  'guest',
);

export type Architecture = 'amd64' | 'i386';

/** An unpacked package. */
export interface UnpackedPackage {
  readonly name: string;
  readonly version: string;
  /** Its files are under this folder as they would be under /. */
  readonly folder: string;
}

/** A meta package for a kernel gives the kernel's. The first call downloads; tests that call it are slow once. */
export async function debianPackage(
  name: string,
  architecture: Architecture,
): Promise<UnpackedPackage> {
  const pointer = join(GUEST_CACHE, `${name}_${architecture}.json`);
  const known = await readKnown(pointer);
  if (known !== undefined) return known;
  await mkdir(GUEST_CACHE, { recursive: true });
  const work = await mkdtemp(join(GUEST_CACHE, '.fetch-'));
  try {
    const apt = await Apt.open(work, architecture);
    const found = await apt.resolve([name], () => {});
    const files = await apt.unpack(await apt.download(found), ['*']);
    const version = found.version.replaceAll(/[^\w.+~-]/g, '_');
    const folderName = `${found.name}-${version}-${architecture}`;
    await putInPlace(files, join(GUEST_CACHE, folderName));
    const entry = { name: found.name, version: found.version, folder: folderName };
    await writeFile(join(work, 'pointer'), JSON.stringify(entry));
    await rename(join(work, 'pointer'), pointer);
    return { ...entry, folder: join(GUEST_CACHE, folderName) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `tests with guests need Debian's package ${name} (${architecture}), fetched by apt-get: ${reason}`,
      { cause: error },
    );
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function readKnown(pointer: string): Promise<UnpackedPackage | undefined> {
  try {
    const entry = JSON.parse(await readFile(pointer, 'utf8')) as UnpackedPackage;
    const folder = join(GUEST_CACHE, entry.folder);
    return (await readdir(folder)).length > 0 ? { ...entry, folder } : undefined;
  } catch {
    return undefined;
  }
}

/** Appears complete or not at all; whoever of several test processes is second leaves the first one's. */
export async function putInPlace(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if ((await readdir(to).catch(() => [])).length === 0) throw error;
  }
}
