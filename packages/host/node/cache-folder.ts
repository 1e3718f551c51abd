// Where Mimic keeps what it could make or fetch again.

import { homedir } from 'node:os';
import { join } from 'node:path';

/** $XDG_CACHE_HOME/mimic, or ~/.cache/mimic. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'mimic');
}
