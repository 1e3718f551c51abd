// Boots a 32-bit guest in v86 without a screen, its first serial port on standard output.
//   node v86-machine.ts <folder of the npm package> <BIOS> <VGA BIOS> <kernel> <initrd> <MiB> <command line>
// A process of its own, so that it is timed and measured as the other emulators are.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** What is used of v86's interface; see v86.d.ts in its package. */
interface V86 {
  add_listener(event: 'serial0-output-byte', listener: (byte: number) => void): void;
  add_listener(event: 'emulator-stopped', listener: () => void): void;
}
interface V86Module {
  readonly V86: new (options: Readonly<Record<string, unknown>>) => V86;
}

const BYTES_PER_MIB = 1 << 20;
const VGA_MIB = 2;

const [folder, bios, vgaBios, kernel, initrd, memoryMiB, commandLine] = process.argv.slice(2);
if (commandLine === undefined) {
  process.stderr.write('usage: see the head of tools/bench/v86-machine.ts\n');
  process.exit(2);
}
const file = (path: string | undefined) => {
  const { buffer, byteOffset, length } = readFileSync(path!);
  return { buffer: buffer.slice(byteOffset, byteOffset + length) };
};
const library = pathToFileURL(join(folder!, 'build', 'libv86.mjs')).href;
const { V86 } = (await import(library)) as V86Module;
const machine = new V86({
  wasm_path: join(folder!, 'build', 'v86.wasm'),
  bios: file(bios),
  vga_bios: file(vgaBios),
  bzimage: file(kernel),
  initrd: file(initrd),
  cmdline: commandLine,
  memory_size: Number(memoryMiB) * BYTES_PER_MIB,
  vga_memory_size: VGA_MIB * BYTES_PER_MIB,
  autostart: true,
  disable_keyboard: true,
  disable_mouse: true,
  disable_speaker: true,
});
let line: number[] = [];
machine.add_listener('serial0-output-byte', (byte) => {
  line.push(byte);
  if (byte !== 0x0a) return;
  process.stdout.write(Buffer.from(line));
  line = [];
});
machine.add_listener('emulator-stopped', () => process.exit(0));
