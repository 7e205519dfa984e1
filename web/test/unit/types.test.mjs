import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import ts from 'typescript';
import * as limpet from '../../client/limpet.js';

const types = fileURLToPath(new URL('../../client/limpet.d.ts', import.meta.url));
const sample = fileURLToPath(new URL('./sample.ts', import.meta.url));

test('the types compile, and fit a program that uses all of the client', () => {
  const program = ts.createProgram([sample, types], {
    strict: true, noEmit: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext, lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'], types: [], skipLibCheck: false,
  });
  const found = ts.getPreEmitDiagnostics(program).map((d) => ts.flattenDiagnosticMessageText(d.messageText, '\n'));
  assert.deepEqual(found, []);
});

test('what the types name is there, and the other way round', () => {
  const declared = [...readFileSync(types, 'utf8').matchAll(/^export (?:class|const|function) (\w+)/gm)].map((m) => m[1]);
  const opaque = ['Client', 'Room']; // declared as interfaces: connect and join make them
  assert.deepEqual(Object.keys(limpet).filter((k) => !opaque.includes(k)).sort(), declared.sort());
});

test('every event that a room emits is typed', () => {
  const source = readFileSync(new URL('../../client/room.js', import.meta.url), 'utf8');
  const emitted = new Set([...source.matchAll(/emit\('(\w+)'/g)].map((m) => m[1]));
  const dts = readFileSync(types, 'utf8');
  const block = dts.slice(dts.indexOf('interface RoomEvents'), dts.indexOf('export interface Room {'));
  for (const e of emitted) assert.match(block, new RegExp(`^  ${e}: `, 'm'));
});
