// Where Mimic keeps what it could make or fetch again.

import type { Stats } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** $XDG_CACHE_HOME/mimic, or ~/.cache/mimic. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'mimic');
}

/** For files with code: only their owner may do anything with them. */
export const CODE_FILE_MODE = 0o600;

/** Nobody else can have written the file: code from it may run with this user's rights. */
export function isOurs({ uid, mode }: Stats): boolean {
  const user = process.getuid?.();
  // Where there are no such numbers, folders of the user are for the user alone.
  return user === undefined || (uid === user && (mode & 0o022) === 0);
}
