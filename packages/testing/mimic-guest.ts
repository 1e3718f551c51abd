// A test's guest on Mimic, through the API that programs use.

import { Machine, type MachineEnd, nodeHost } from 'mimic';
import type { Guest, GuestEnd, GuestOptions } from './guest.ts';

export async function startMimicGuest(options: GuestOptions): Promise<Guest> {
  const { kernel, initrd, append = '', memoryMib = 256, disks = [], cpu, cpus, accel } = options;
  const machineOptions = {
    kernel,
    append: `console=ttyS0 ${append}`,
    memory: memoryMib * 2 ** 20,
    disks,
    onReset: 'stop' as const,
    ...(initrd === undefined ? {} : { initrd }),
    ...(cpu === undefined ? {} : { cpu }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(accel === undefined ? {} : { accel }),
  };
  // A test is to run as on a computer that never ran it.
  const host = nodeHost(undefined, { keepTranslations: false });
  const machine = await Machine.create(machineOptions, host);
  let output = '';
  const copied = (async () => {
    const decoder = new TextDecoder();
    for await (const bytes of machine.serial.readable) {
      output += decoder.decode(bytes, { stream: true });
    }
  })();
  await machine.start();
  return {
    async expect(pattern, expectOptions) {
      try {
        return await machine.serial.expect(pattern, expectOptions);
      } catch (error) {
        // A crash has a stack, which the failed test should show.
        if (machine.end?.reason !== 'crashed') throw error;
        throw new Error(`Mimic crashed: ${machine.end.stack}`, { cause: error });
      }
    },
    sendLine: (line) => machine.serial.sendLine(line),
    get output() {
      return output;
    },
    exited: Promise.all([machine.exited, copied]).then(([end]) => describe(end)),
    stop: () => machine.stop(),
    [Symbol.asyncDispose]: () => machine.stop(),
  };
}

function describe(end: MachineEnd): GuestEnd {
  return 'message' in end ? `${end.reason}: ${end.message}` : end.reason;
}
