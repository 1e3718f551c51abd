// Gives back the memory of what building a machine left behind. The thread has so little to do while the machine runs
// that V8 would not come to it (docs/decisions/0018).

import v8 from 'node:v8';
import { runInNewContext } from 'node:vm';

export function collectGarbage(): void {
  v8.setFlagsFromString('--expose-gc');
  const collect: NodeJS.GCFunction = runInNewContext('gc');
  // As if memory were short: else V8 keeps the pages that it has emptied.
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}
