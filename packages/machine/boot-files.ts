// Kernel and initrd of a machine: megabytes that nobody looks at between one boot and the next. Where the host has a
// place for them they are not in memory meanwhile.

import type { KernelFiles } from '@mimic/board';
import type { WorkerHost } from './host.ts';
import type { ComputerConfig } from './options.ts';

type Bytes = Uint8Array<ArrayBuffer>;

export class BootFiles {
  readonly #commandLine: string;
  readonly #setAside: WorkerHost<unknown>['setAside'];
  #kernel: File;
  #initrd: File | undefined;

  constructor(
    config: Pick<ComputerConfig, 'kernel' | 'initrd' | 'append'>,
    host: Pick<WorkerHost<unknown>, 'setAside'>,
  ) {
    this.#commandLine = config.append;
    this.#setAside = host.setAside?.bind(host);
    this.#kernel = { bytes: config.kernel };
    this.#initrd = config.initrd && { bytes: config.initrd };
  }

  /** The files are there until `boot` returns; the configuration's arrays may be empty afterwards. */
  use<Result>(boot: (files: KernelFiles) => Result): Result {
    const kernel = bytesOf(this.#kernel);
    const initrd = this.#initrd && bytesOf(this.#initrd);
    const result = boot({ kernel, ...(initrd && { initrd }), commandLine: this.#commandLine });
    this.#kernel = this.#putAway(this.#kernel, kernel);
    this.#initrd = this.#initrd && initrd && this.#putAway(this.#initrd, initrd);
    return result;
  }

  #putAway(file: File, bytes: Bytes): File {
    const read = 'read' in file ? file.read : this.#setAside?.(bytes);
    if (!read) return { bytes };
    // Their memory goes at once, whoever still knows the array: the worker's start data does.
    bytes.buffer.transfer(0);
    return { read };
  }
}

/** In memory, or set aside. */
type File = { readonly bytes: Bytes } | { readonly read: () => Bytes };

function bytesOf(file: File): Bytes {
  return 'bytes' in file ? file.bytes : file.read();
}
