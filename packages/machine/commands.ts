// The commands that look into a computer or push one of its buttons, carried out in the worker between slices.
// Arguments come from the API or the monitor: what they name may not exist, and then the command is refused.

import type { Computer } from './computer.ts';
import { MachineError } from './errors.ts';
import type { CommandFrame, CommandName, Commands } from './protocol.ts';

/** One command reads or writes at most this much; the API splits larger requests. */
export const MEMORY_ACCESS_MAX_BYTES = 1 << 15;
const PAGE_BYTES = 4096;

type Handlers = {
  readonly [Name in CommandName]?: (
    computer: Computer,
    argument: Commands[Name]['takes'],
  ) => Commands[Name]['gives'];
};

const HANDLERS: Handlers = {
  pressPowerButton: (computer) => computer.pressPowerButton(),
  nmi({ processors }) {
    for (const processor of processors) processor.nmi();
    return null;
  },
  selectProcessor(computer, { index }) {
    const { length } = computer.processors;
    if (!(Number.isInteger(index) && index >= 0 && index < length)) {
      throw new MachineError('BAD_COMMAND', `there is no processor ${index}`, {
        hint: length === 1 ? 'the machine has only processor 0' : `choose from 0 to ${length - 1}`,
      });
    }
    computer.selectProcessor(index);
    return null;
  },
  processors: ({ processors }) =>
    processors.map((processor, index) => ({
      index,
      rip: processor.readRegister('rip') ?? 0n,
      instructionCount: processor.instructionCount,
    })),
  readRegisters({ processor }, { names }) {
    const values: Record<string, bigint> = {};
    for (const name of names.length > 0 ? names : processor.registerNames) {
      const value = processor.readRegister(name);
      if (value === undefined) throw noSuchRegister(name);
      values[name] = value;
    }
    return values;
  },
  writeRegister({ processor }, { register, value }) {
    if (!processor.writeRegister(register, value)) throw noSuchRegister(register);
    return null;
  },
  readMemory: ({ memory }, { gpa, lengthBytes }) => {
    const bytes = new Uint8Array(Math.min(lengthBytes, MEMORY_ACCESS_MAX_BYTES));
    if (!memory.read(gpa, bytes)) throw notInRam(gpa, bytes.length);
    return bytes;
  },
  writeMemory({ memory }, { gpa, bytes }) {
    if (!memory.write(gpa, bytes)) throw notInRam(gpa, bytes.length);
    return null;
  },
  readVirtual(computer, { gva, lengthBytes }) {
    const bytes = new Uint8Array(Math.min(lengthBytes, MEMORY_ACCESS_MAX_BYTES));
    for (const piece of pages(computer, gva, bytes)) {
      if (!computer.memory.read(piece.gpa, piece.bytes))
        throw notInRam(piece.gpa, piece.bytes.length);
    }
    return bytes;
  },
  writeVirtual(computer, { gva, bytes }) {
    // Every page is looked up before the first is written, so a refused write changes nothing.
    for (const piece of [...pages(computer, gva, bytes)]) {
      if (!computer.memory.write(piece.gpa, piece.bytes))
        throw notInRam(piece.gpa, piece.bytes.length);
    }
    return null;
  },
  translate({ processor }, { gva }) {
    const found = processor.translate(gva);
    return found === undefined ? null : { gpa: found.gpa };
  },
  disassemble: ({ processor }, { gva, count }) => processor.disassemble(gva, Math.min(count, 256)),
  parts: (computer) => computer.parts(),
  jit: (computer) => computer.jit(),
  wasmMemory: (computer) => computer.wasmMemory ?? null,
  stateHash: (computer) => ({
    sha256: computer.stateHash(),
    count: computer.processor.instructionCount,
  }),
  setTrace(computer, { kinds }) {
    computer.setTrace(kinds);
    return null;
  },
};

export function runCommand(computer: Computer, frame: CommandFrame): unknown {
  const handler = HANDLERS[frame.name] as
    | ((computer: Computer, argument: unknown) => unknown)
    | undefined;
  if (handler === undefined) throw new MachineError('BAD_COMMAND', `no command ${frame.name}`);
  return handler(computer, frame.argument);
}

/** The physical pieces of a virtual range; throws at the first page that is not mapped. */
function* pages(
  { processor }: Computer,
  gva: bigint,
  bytes: Uint8Array,
): Generator<{ gpa: number; bytes: Uint8Array }> {
  for (let done = 0; done < bytes.length; ) {
    const at = BigInt.asUintN(64, gva + BigInt(done));
    const found = processor.translate(at);
    if (found === undefined) {
      throw new MachineError('BAD_ADDRESS', `no page is mapped at 0x${at.toString(16)}`, {
        hint: '"page-walk ADDRESS" in the monitor shows where the walk ends',
      });
    }
    const count = Math.min(bytes.length - done, PAGE_BYTES - (found.gpa % PAGE_BYTES));
    yield { gpa: found.gpa, bytes: bytes.subarray(done, done + count) };
    done += count;
  }
}

function notInRam(gpa: number, lengthBytes: number): MachineError {
  return new MachineError(
    'BAD_ADDRESS',
    `0x${gpa.toString(16)} is not RAM for all of ${lengthBytes} bytes`,
  );
}

function noSuchRegister(name: string): MachineError {
  return new MachineError('BAD_REGISTER', `the processor has no register "${name}"`, {
    hint: 'names are lower case: rax, rip, rflags, cs, cr3, efer, xmm0, st0',
  });
}
