// Keeps the guests' images and what QEMU logs of them, so that hosts without gcc or QEMU compare, too.
//   node tests/system/record.ts     writes recorded.json.gz

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { GUESTS, runOnQemu, sourcesVersion } from './guest.ts';

const FILE = fileURLToPath(new URL('./recorded.json.gz', import.meta.url));

export interface Recording {
  readonly sources: string;
  /** In the order of GUESTS; images in base64. */
  readonly guests: readonly { readonly image: string; readonly log: string }[];
}

export function readRecording(): Recording {
  return JSON.parse(gunzipSync(readFileSync(FILE)).toString('latin1')) as Recording;
}

if (import.meta.main) {
  const guests = GUESTS.map(({ name, bits }) => {
    const { image, log } = runOnQemu(name, bits);
    console.log(`${name} ${bits}: ${log.split('\n').length} lines`);
    return { image: Buffer.from(image).toString('base64'), log };
  });
  const recording: Recording = { sources: sourcesVersion(), guests };
  writeFileSync(FILE, gzipSync(JSON.stringify(recording), { level: 9 }));
}
