// The documents at the root and under docs/: their TypeScript must compile, their links and commands must exist.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const DOCUMENTS = globSync(['*.md', 'docs/**/*.md'], { cwd: ROOT }).map((path) => ({
  path,
  text: readFileSync(join(ROOT, path), 'utf8'),
}));

/** Bodies of the fenced blocks in a language. */
function blocks(text: string, language: string): string[] {
  const pattern = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm');
  return [...text.matchAll(pattern)].map((match) => match[1] ?? '');
}

test('TypeScript in README.md compiles against the packages', () => {
  const examples = blocks(readFileSync(join(ROOT, 'README.md'), 'utf8'), 'ts');
  assert.notEqual(examples.length, 0, 'README.md has an example');
  // Inside the workspace, so that package names resolve; .cache is not under version control.
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  const folder = mkdtempSync(join(ROOT, '.cache', 'readme-'));
  try {
    for (const [index, text] of examples.entries()) {
      writeFileSync(join(folder, `example-${index}.ts`), text);
    }
    const config = {
      extends: '../../tsconfig.json',
      include: ['./*.ts', '../../types/*.d.ts'],
      exclude: [],
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const compiler = join(ROOT, 'node_modules', '.bin', 'tsc');
    const { error, stdout } = spawnSync(compiler, ['-p', folder], { cwd: ROOT, encoding: 'utf8' });
    assert.equal(error, undefined);
    // What is wrong in the packages themselves, `npm run check` tells.
    const complaints = stdout
      .split('\n')
      .filter((line) => /error TS\d+/.test(line) && !line.startsWith('packages/'));
    assert.deepEqual(complaints, []);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('links between documents and into the code lead to files', () => {
  const complaints = DOCUMENTS.flatMap(({ path, text }) =>
    [...text.matchAll(/\]\(([^)\s]+)\)/g)]
      .map((match) => match[1]!.replace(/#.*$/, ''))
      .filter((target) => target !== '' && !target.includes('://'))
      .filter((target) => !existsSync(join(ROOT, dirname(path), target)))
      .map((target) => `${path}: ${target}`),
  );
  assert.deepEqual(complaints, []);
});

test('files and npm scripts that documents name exist', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const complaints = DOCUMENTS.flatMap(({ path, text }) => {
    const files = [...text.matchAll(/`((?:packages|tests|tools|docs)\/[\w./-]+)`/g)]
      .map((match) => match[1]!)
      .filter((file) => !existsSync(join(ROOT, file)));
    const commands = [...text.matchAll(/npm run ([\w:-]+)/g)]
      .map((match) => match[1]!)
      .filter((name) => !Object.hasOwn(scripts, name));
    return [...files, ...commands].map((name) => `${path}: ${name}`);
  });
  assert.deepEqual(complaints, []);
});
