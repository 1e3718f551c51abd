// Direct kernel boot: tells the formats apart and hands the file to its loader.

import { isElf } from './elf.ts';
import type { BootImage } from './image.ts';
import { type BootInput, notAKernel } from './input.ts';
import { isLinux, loadLinux } from './linux-bzimage.ts';
import { loadPvh } from './pvh.ts';

/** Plans the start of a kernel; writes nothing. Throws a `BootError` if it cannot be started. */
export function loadKernel(input: BootInput): BootImage {
  if (isElf(input.kernel)) return loadPvh(input);
  if (isLinux(input.kernel)) return loadLinux(input);
  throw notAKernel(input.kernel);
}
