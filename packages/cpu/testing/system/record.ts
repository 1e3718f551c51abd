// Builds the system test programs and records what another processor logs: node record.ts
// Needs GNU as and ld and Bochs 2.7 (Debian's binutils, bochs, bochs-term, vgabios). Writes NAME.image (gzip, base64)
// and NAME.log beside NAME.S.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const SECONDS = 5;
const here = import.meta.dirname;

function run(command: string, args: readonly string[], timeoutSeconds = 60): string {
  const env = { ...process.env, TERM: 'xterm' };
  const timeout = timeoutSeconds * 1000;
  // Bochs does not end when the guest halts for good: the time limit is how it is meant to end.
  const r = spawnSync(command, args, {
    cwd: here,
    env,
    timeout,
    killSignal: 'SIGKILL',
    encoding: 'latin1',
  });
  if (r.error && !('code' in r.error && r.error.code === 'ETIMEDOUT')) throw r.error;
  if (r.status) throw new Error(`${command}: ${r.stderr}`);
  return r.stdout;
}

/** Assembles NAME.S to NAME.image; gives the path of the plain image. */
function build(name: string, scratch: string): string {
  const object = join(scratch, `${name}.o`);
  const image = join(scratch, `${name}.bin`);
  run('as', ['--64', `${name}.S`, '-o', object]);
  run('ld', ['-Ttext=0', '--oformat', 'binary', '-e', '0', object, '-o', image]);
  const packed = gzipSync(readFileSync(image), { level: 9 }).toString('base64');
  writeFileSync(join(here, `${name}.image`), `${packed}\n`);
  return image;
}

function record(name: string, scratch: string): void {
  const image = build(name, scratch);
  const configuration = join(scratch, 'bochsrc');
  const commands = join(scratch, 'commands');
  writeFileSync(commands, 'c\n');
  writeFileSync(
    configuration,
    [
      'megs: 16',
      `romimage: file=${image}`,
      'vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest',
      'cpu: model=corei7_icelake_u, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=0',
      'port_e9_hack: enabled=1',
      'display_library: term',
      `log: ${join(scratch, 'bochs.log')}`,
      'error: action=ignore',
    ].join('\n'),
  );
  const screen = run('bochs-bin', ['-q', '-f', configuration, '-rc', commands], SECONDS);
  const lines = screen.split('\n').map((line) => line.replace(/[^\x20-\x7e]/g, ''));
  const log = lines.slice(lines.findIndex((line) => line.startsWith('divide: ')));
  writeFileSync(join(here, `${name}.log`), `${log.join('\n').trimEnd()}\n`);
}

const scratch = mkdtempSync(join(tmpdir(), 'mimic-system-'));
for (const name of ['protected', 'long']) record(name, scratch);
// Needs the test device of testing/firmware.ts, so its log is written by hand.
build('events', scratch);
rmSync(scratch, { recursive: true });
