// Modules of a single function, each unlike the others, as tests of kept code want them. Imported by tests only.

import v8 from 'node:v8';

export interface SmallModule {
  readonly module: WebAssembly.Module;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What all of them import. */
export const MEMORY: WebAssembly.Memory = new WebAssembly.Memory({
  initial: 1,
  maximum: 16,
  shared: true,
});

/** Exports `add`, which adds `n` (below 64) to its argument, and what it imports as `host`. It has not run yet. */
export function quickModule(n: number): SmallModule {
  const bytes = smallModuleBytes(n);
  return { module: new WebAssembly.Module(bytes), bytes };
}

/** The same, compiled by TurboFan. */
export function hotModule(n: number): SmallModule {
  const small = quickModule(n);
  makeHot(small.module);
  return small;
}

/** Has TurboFan compile a small module. */
export function makeHot(module: WebAssembly.Module): void {
  v8.setFlagsFromString('--allow-natives-syntax');
  const tierUp = new Function('f', 'return %WasmTierUpFunction(f)');
  tierUp(addOf(module));
  v8.setFlagsFromString('--no-allow-natives-syntax');
}

/** Its function, of a new instance. */
export function addOf(module: WebAssembly.Module): (a: number) => number {
  const imports = { env: { memory: MEMORY }, host: { host: () => 0 } };
  return new WebAssembly.Instance(module, imports).exports.add as (a: number) => number;
}

/** WebAssembly Core Specification 2.0 §5.5. */
export function smallModuleBytes(n: number): Uint8Array<ArrayBuffer> {
  const name = (text: string) => [text.length, ...new TextEncoder().encode(text)];
  const section = (id: number, ...content: number[]) => [id, content.length, ...content];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, 1, 0x60, 1, 0x7f, 1, 0x7f),
    ...section(
      2,
      ...[2, ...name('env'), ...name('memory'), 2, 3, 1, 16],
      ...[...name('host'), ...name('host'), 0, 0],
    ),
    ...section(3, 1, 0),
    ...section(7, 2, ...name('add'), 0, 1, ...name('host'), 0, 0),
    ...section(10, 1, 7, 0, 0x20, 0, 0x41, n, 0x6a, 0x0b),
  ]);
}
