import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire, wrap } from 'node:module';
import { dirname } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

// Runs the bundle with the bytecode of an earlier run, which saves compiling at every start. Node's own compile cache
// (NODE_COMPILE_CACHE) keeps what is compiled when a file is loaded; this keeps what a whole run has needed.
const folder = dirname(process.argv[1] ?? '');
// The host role is a bundle of its own, so that the router reads nothing of it.
const bundle = ['host', 'forward'].includes(process.argv[2] ?? '') ? 'host' : 'underbridge';
const filename = `${folder}/${bundle}.cjs`;
const cache = `${folder}/${bundle}.cache`;
const script = new Script(wrap(readFileSync(filename, 'utf8')), {
  filename,
  // V8 takes it only from the same Node with the same flags and the same source; else it compiles anew.
  cachedData: existsSync(cache) ? readFileSync(cache) : undefined,
});
if (process.env.UNDERBRIDGE_CACHE === 'write') {
  process.on('exit', () => writeFileSync(cache, script.createCachedData()));
}
const module = { exports: {} };
script.runInThisContext()(module.exports, createRequire(filename), module, filename, folder);

// The router computes little, and with V8's compilers its memory grew from 76 to 97 MB over 45 reconnects. As options of
// Node, or any earlier, these would keep V8 from taking the bytecode, its own modules' too, which costs 25 ms.
if (process.env.UNDERBRIDGE_CACHE !== 'write') {
  for (const flag of ['--no-opt', '--no-maglev', '--no-sparkplug', '--optimize-for-size']) setFlagsFromString(flag);
}
