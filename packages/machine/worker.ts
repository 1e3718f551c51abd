// A machine's life inside its worker: assemble the computer, run the loop, report how it ended.

import { TimerQueue } from '@mimic/base';
import { endTranslator } from '@mimic/cpu';
import type { Computer, ComputerWires } from './computer.ts';
import { DeterministicLoop } from './deterministic-loop.ts';
import type { WorkerHost, WorkerStart } from './host.ts';
import { InstructionTime } from './instruction-time.ts';
import { errorReport, type GuestSignals, MachineLoop } from './loop.ts';
import { Mailbox } from './mailbox.ts';
import type { ComputerConfig } from './options.ts';
import { Output } from './output.ts';
import type { FinalState, WorkerEnd } from './protocol.ts';
import { headerFor, printHeader, type RecordingHeader } from './recording.ts';

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
  let computer: Computer | undefined;
  const mailbox = new Mailbox(start.mailbox);
  const output = new Output({ mailbox, send, consoleCount: mailbox.consoleInputs.length });
  let loop: MachineLoop | DeterministicLoop | undefined;
  const deterministic = start.config.deterministic;
  const time = new InstructionTime(
    () => computer?.processor.instructionCount ?? 0,
    deterministic?.nsPerInstruction ?? 1,
  );
  const clock = new TimerQueue(
    () => (deterministic ? time.now() : host.now()),
    () => loop?.deadlineChanged(),
  );
  clock.pause();
  const signals: GuestSignals = { poweredOff: false, resetAsked: false };
  const wires: ComputerWires = {
    clock,
    mailbox,
    serialOutput: output.serial,
    serialRoom: () => loop?.feedSerial(),
    consoleOutputs: output.consoles,
    consoleRoom: (index) => loop?.feedConsole(index),
    trace: output.trace,
    traceText: output.traceText,
    powerOff: () => {
      signals.poweredOff = true;
      computer?.processor.stop();
    },
    reset: () => {
      signals.resetAsked = true;
      computer?.processor.stop();
    },
  };
  let header: RecordingHeader | undefined;
  try {
    if (deterministic) {
      header = headerFor(start.config, deterministic, () => host.sha256());
    }
    computer = await assemble(start.config, wires, host);
    computer.boot();
    computer.setTrace(start.config.trace);
  } catch (error) {
    send({ kind: 'failed', error: errorReport(error) });
    return;
  }
  send({ kind: 'ready' });
  const parts = { computer, clock, mailbox, output, send, signals, options: start.config };
  let end: WorkerEnd;
  let final: FinalState | undefined;
  try {
    if (deterministic) {
      if (header && deterministic.records) send({ kind: 'recorded', line: printHeader(header) });
      loop = new DeterministicLoop({ ...parts, time, config: deterministic });
      ({ end, final } = await loop.run());
    } else {
      loop = new MachineLoop(parts);
      end = await loop.run();
    }
  } catch (error) {
    end = crash(error);
  }
  output.flush();
  if (computer.wasmMemory) endTranslator(computer.wasmMemory);
  send({ kind: 'ended', end, ...(final && { final }) });
}

function crash(error: unknown): WorkerEnd {
  const { message, stack = '' } = error instanceof Error ? error : new Error(String(error));
  return { reason: 'crashed', message, stack };
}
