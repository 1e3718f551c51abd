// The command tree, and what it does when it was used wrongly.

import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import type { Host } from 'mimic';
import { runCommand } from './commands/run.ts';
import { EXIT } from './exit-codes.ts';
import { reportError } from './report.ts';

const HELP = `
Start here:
  mimic run debian     a Debian kernel and a shell, fetched on first use
  mimic run --help     all about running a machine, with examples
`;

/** Runs one command line (without node and script) and returns the exit code. `host` is for tests. */
export async function runProgram(args: readonly string[], host?: Host): Promise<number> {
  process.exitCode = EXIT.ok;
  try {
    await createProgram(host).parseAsync(args, { from: 'user' });
    return Number(process.exitCode);
  } catch (error) {
    if (!(error instanceof CommanderError)) return reportError(error);
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
}

function createProgram(host: Host | undefined): Command {
  const program = new Command('mimic')
    .description('A virtual PC in TypeScript: boots unmodified x86-64 operating systems.')
    .version(version(), '-V, --version', 'print the version')
    .helpCommand(true)
    .enablePositionalOptions()
    .addHelpText('after', HELP)
    .addCommand(runCommand(host));
  everyCommand(program, (command) => {
    command.exitOverride().configureOutput({
      outputError: (text, write) => write(explained(text, command)),
    });
  });
  return program;
}

function everyCommand(command: Command, change: (command: Command) => void): void {
  change(command);
  for (const child of command.commands) everyCommand(child, change);
}

/** Commander's sentence, and a hint in our form below it. */
function explained(text: string, command: Command): string {
  const [sentence = '', guess] = text.trim().split(/\n\(Did you mean (.*)\?\)/);
  const names: string[] = [];
  for (let at: Command | null = command; at !== null; at = at.parent) names.unshift(at.name());
  const hint =
    guess === undefined ? `"${names.join(' ')} --help" explains` : `did you mean ${guess}?`;
  return `${sentence}\nhint: ${hint}\n`;
}

function version(): string {
  const manifest = readFileSync(new URL('./package.json', import.meta.url), 'utf8');
  return String((JSON.parse(manifest) as { version: string }).version);
}
