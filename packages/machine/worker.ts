// A machine's life inside its worker: assemble the computer, run the loop, report how it ended.

import { TimerQueue } from '@mimic/base';
import type { Computer, ComputerWires } from './computer.ts';
import type { WorkerHost, WorkerStart } from './host.ts';
import { errorReport, type GuestSignals, MachineLoop } from './loop.ts';
import { Mailbox } from './mailbox.ts';
import type { ComputerConfig } from './options.ts';
import { Output } from './output.ts';
import type { WorkerEnd } from './protocol.ts';

/** Builds a computer that has not been booted yet. */
export type Assemble<Store> = (
  config: ComputerConfig,
  wires: ComputerWires,
  host: WorkerHost<Store>,
) => Promise<Computer>;

/** Returns after the last report has been sent; the worker may then end. */
export async function runMachine<Store>(
  start: WorkerStart,
  host: WorkerHost<Store>,
  assemble: Assemble<Store>,
): Promise<void> {
  const send = host.send.bind(host);
  const mailbox = new Mailbox(start.mailbox);
  const output = new Output({ mailbox, send, consoleCount: mailbox.consoleInputs.length });
  let loop: MachineLoop | undefined;
  const clock = new TimerQueue(
    () => host.now(),
    () => loop?.deadlineChanged(),
  );
  clock.pause();
  const signals: GuestSignals = { poweredOff: false, resetAsked: false };
  let computer: Computer | undefined;
  const wires: ComputerWires = {
    clock,
    serialOutput: output.serial,
    serialRoom: () => loop?.feedSerial(),
    consoleOutputs: output.consoles,
    consoleRoom: (index) => loop?.feedConsole(index),
    trace: output.trace,
    powerOff: () => {
      signals.poweredOff = true;
      computer?.processor.stop();
    },
    reset: () => {
      signals.resetAsked = true;
      computer?.processor.stop();
    },
  };
  try {
    computer = await assemble(start.config, wires, host);
    computer.boot();
    computer.setTrace(start.config.trace);
  } catch (error) {
    send({ kind: 'failed', error: errorReport(error) });
    return;
  }
  send({ kind: 'ready' });
  loop = new MachineLoop({
    computer,
    clock,
    mailbox,
    output,
    send,
    signals,
    options: start.config,
  });
  let end: WorkerEnd;
  try {
    end = await loop.run();
  } catch (error) {
    end = crash(error);
  }
  output.flush();
  send({ kind: 'ended', end });
}

function crash(error: unknown): WorkerEnd {
  const { message, stack = '' } = error instanceof Error ? error : new Error(String(error));
  return { reason: 'crashed', message, stack };
}
