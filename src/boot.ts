import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire, wrap } from 'node:module';
import { dirname } from 'node:path';
import { Script } from 'node:vm';

// Runs the bundle with the bytecode of an earlier run, which saves compiling at every start. Node's own compile cache
// (NODE_COMPILE_CACHE) keeps what is compiled when a file is loaded; this keeps what a whole run has needed.
const folder = dirname(process.argv[1] ?? '');
// The host role is a bundle of its own, so that the router reads nothing of it.
const bundle = process.argv[2] === 'host' ? 'host' : 'underbridge';
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
